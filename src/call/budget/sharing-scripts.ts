/** Pure. The Lua of the shared ledger that knows its gateways: sessions, what each has told of its share, epochs, the lapse of the dead. */

/**
 * ARGV: incarnation, gateway, session, the last epoch that it knows, and the latest time that it knows of other clocks than its own:
 * told by Redis before it lost its memory, whose clock may be behind now. Counters of another incarnation of the process may lack what
 * was told to it, and those of an epoch before the last what was told since: a new one begins, in which nothing is counted yet.
 */
const ENTER = `
local gw = ARGV[2]
local known = redis.call('HMGET', control, 'incarnation', 'epoch')
local epoch = known[2]
if known[1] ~= ARGV[1] or not epoch or number(ARGV[4]) > number(epoch) then
  epoch = whole(math.max(number(epoch), number(ARGV[4])) + 1)
  redis.call('HSET', control, 'incarnation', ARGV[1], 'epoch', epoch, 'open', '0')
end
local now = math.max(clock(), number(ARGV[5]))
redis.call('HSET', control, 'latest', whole(now), 's:' .. gw, ARGV[3], 'b:' .. gw, whole(now))
redis.call('HDEL', control, 'r:' .. gw, 'x:' .. gw)
return { epoch, whole(now) }
`;

/** ARGV: epoch, gateway, offset, count. The names of the counters in which it has a share, and the ends of their windows. */
const SHARES = `
local epoch, gw = ARGV[1], ARGV[2]
local first = number(ARGV[3])
local answer = {}
for _, name in ipairs(redis.call('ZRANGE', own(epoch, gw), whole(first), whole(first + number(ARGV[4]) - 1))) do
  answer[#answer + 1] = name
  answer[#answer + 1] = redis.call('HGET', counter(epoch, name), 'e') or 'gone'
end
return answer
`;

/** ARGV: epoch, gateway, session, then by counter: name, end, committed, held, debt, and what of the held no call holds. All of it at once. */
const TELL = `
local epoch, gw = ARGV[1], ARGV[2]
if stranger(epoch, gw, ARGV[3]) then return { 'stranger' } end
local now = clock()
for at = 4, #ARGV, 6 do
  local name, ends = ARGV[at], ARGV[at + 1]
  local said = { c = number(ARGV[at + 2]), h = number(ARGV[at + 3]), d = number(ARGV[at + 4]) }
  local isNothing = said.c == 0 and said.h == 0 and said.d == 0
  local isOver = ends ~= '' and number(ends) + KEPT_MS <= now
  if not isOver and not (isNothing and redis.call('EXISTS', counter(epoch, name)) == 0) then
    local key = keep(epoch, gw, name, ends, now)
    for field, value in pairs(said) do
      local change = value - number(redis.call('HGET', key, field .. ':' .. gw))
      if change ~= 0 then
        redis.call('HINCRBY', key, field, whole(change))
        redis.call('HSET', key, field .. ':' .. gw, whole(value))
      end
    end
    redis.call('HSET', key, 'l:' .. gw, ARGV[at + 5])
  end
end
return { 'told' }
`;

/** ARGV: epoch, gateway, session. All of its share is told: it may hold again, at once where the epoch is open. */
const READY = `
local epoch, gw = ARGV[1], ARGV[2]
if stranger(epoch, gw, ARGV[3]) then return { 'stranger' } end
redis.call('HSET', control, 'r:' .. gw, epoch)
return { 'ready', redis.call('HGET', control, 'open') == '1' and 'open' or 'filling' }
`;

/** ARGV: epoch, gateway, session, lapse. A sign of life, and the sweep of what is over. Answers who has given none for so long. */
const BEAT = `
local epoch, gw = ARGV[1], ARGV[2]
if stranger(epoch, gw, ARGV[3]) then return { 'stranger' } end
local now = tick()
redis.call('HSET', control, 'b:' .. gw, whole(now))
-- Some at a time: everybody waits meanwhile.
for _, names in ipairs({ index(epoch), own(epoch, gw) }) do
  local over = redis.call('ZRANGEBYSCORE', names, '-inf', '(' .. whole(now - KEPT_MS), 'LIMIT', 0, 1000)
  if #over > 0 then redis.call('ZREM', names, unpack(over)) end
end
local swept = number(redis.call('HGET', control, 'swept'))
if swept < number(epoch) - 1 then
  local past = whole(swept + 1)
  local names = redis.call('ZPOPMIN', index(past), 500)
  for at = 1, #names, 2 do redis.call('UNLINK', counter(past, names[at])) end
  if #names == 0 then redis.call('HSET', control, 'swept', past) end
end
local answer = { redis.call('HGET', control, 'open') == '1' and 'open' or 'filling', whole(now) }
local all = redis.call('HGETALL', control)
for at = 1, #all, 2 do
  local of = string.match(all[at], '^b:(.*)$')
  if of and swept < number(epoch) - 1 then redis.call('UNLINK', own(whole(swept + 1), of)) end
  if of and number(all[at + 1]) + number(ARGV[4]) < now then
    local state = redis.call('HMGET', control, 's:' .. of, 'x:' .. of, 'r:' .. of)
    -- What one that has not told its share to this epoch holds is not known here.
    if (state[1] ~= '' or state[2]) and state[3] == epoch then answer[#answer + 1] = of end
  end
end
return answer
`;

/**
 * ARGV: epoch, gateway, lapse, offset, count. Its session ends, and what it holds counts as used: nobody else knows whether its calls
 * were made. Answers the next offset; '0' when all is done. It says the truth itself when it returns.
 */
const LAPSE = `
local epoch, gw, first, count = ARGV[1], ARGV[2], number(ARGV[4]), number(ARGV[5])
local now = clock()
local known = redis.call('HMGET', control, 'epoch', 'b:' .. gw)
if known[1] ~= epoch or number(known[2]) + number(ARGV[3]) >= now then return { 'alive' } end
redis.call('HSET', control, 's:' .. gw, '', 'x:' .. gw, '1')
local names = redis.call('ZRANGE', own(epoch, gw), whole(first), whole(first + count - 1))
for _, name in ipairs(names) do
  local key = counter(epoch, name)
  local held = redis.call('HGET', key, 'h:' .. gw)
  if number(held) ~= 0 then
    redis.call('HINCRBY', key, 'h', whole(-number(held)))
    redis.call('HINCRBY', key, 'c', held)
    redis.call('HINCRBY', key, 'c:' .. gw, held)
    redis.call('HSET', key, 'h:' .. gw, '0')
  end
  if held then redis.call('HDEL', key, 'l:' .. gw) end
end
if #names == count then return { 'more', whole(first + count) } end
redis.call('HDEL', control, 'x:' .. gw)
return { 'lapsed' }
`;

/** ARGV: epoch, force ('1' or ''), the registered gateways. Answers those who have not told their share to this epoch. */
const OPEN = `
local epoch = ARGV[1]
if redis.call('HGET', control, 'epoch') ~= epoch then return { 'stranger' } end
local answer = { 'open' }
for at = 3, #ARGV do
  if redis.call('HGET', control, 'r:' .. ARGV[at]) ~= epoch then answer[#answer + 1] = ARGV[at] end
end
if #answer == 1 or ARGV[2] == '1' then redis.call('HSET', control, 'open', '1') else answer[1] = 'filling' end
return answer
`;

/** ARGV: gateway, lapse. One that is gone for good; its share stays counted until the windows end. */
const FORGET = `
local gw = ARGV[1]
local known = redis.call('HMGET', control, 's:' .. gw, 'b:' .. gw, 'x:' .. gw)
if (known[1] and known[1] ~= '' and number(known[2]) + number(ARGV[2]) >= clock()) then return { 'alive' } end
if (known[1] and known[1] ~= '') or known[3] then
  if redis.call('HGET', control, 'r:' .. gw) == redis.call('HGET', control, 'epoch') then return { 'lapsing' } end
end
redis.call('HDEL', control, 's:' .. gw, 'b:' .. gw, 'r:' .. gw, 'x:' .. gw)
return { 'forgotten' }
`;

/** ARGV: epoch, gateway, session, then by counter its name: what is set aside there is given back. */
const RELEASE = `
local epoch, gw = ARGV[1], ARGV[2]
local isStranger, isNew = stranger(epoch, gw, ARGV[3])
if isStranger or isNew then return { 'stranger' } end
for at = 4, #ARGV do
  local key = counter(epoch, ARGV[at])
  local slice = number(redis.call('HGET', key, 'l:' .. gw))
  if slice > 0 then
    redis.call('HSET', key, 'l:' .. gw, '0')
    redis.call('HINCRBY', key, 'h', whole(-slice))
    redis.call('HINCRBY', key, 'h:' .. gw, whole(-slice))
  end
end
return { 'released' }
`;

/** ARGV: epoch, gateway, session. It stops, and holds nothing that it knows of. */
const LEAVE = `
local epoch, gw = ARGV[1], ARGV[2]
if stranger(epoch, gw, ARGV[3]) then return { 'stranger' } end
redis.call('HSET', control, 's:' .. gw, '')
return { 'left' }
`;

/** ARGV: epoch, offset, count. Every counter, the oldest window first: name, end, committed, held, debt. Changes nothing. */
const COUNTERS = `
local epoch, first = ARGV[1], number(ARGV[2])
local answer = {}
for _, name in ipairs(redis.call('ZRANGE', index(epoch), whole(first), whole(first + number(ARGV[3]) - 1))) do
  local at = redis.call('HMGET', counter(epoch, name), 'e', 'c', 'h', 'd')
  if at[1] then
    for _, each in ipairs({ name, at[1], at[2] or '0', at[3] or '0', at[4] or '0' }) do answer[#answer + 1] = each end
  else
    for _, each in ipairs({ '', '', '0', '0', '0' }) do answer[#answer + 1] = each end
  end
end
return answer
`;

/** ARGV: epoch. Who has ever counted here, its last sign of life, and '1' while its session lasts. Changes nothing. */
const SIGNS = `
local answer = {}
local all = redis.call('HGETALL', control)
for at = 1, #all, 2 do
  local of = string.match(all[at], '^b:(.*)$')
  if of then
    local session = redis.call('HGET', control, 's:' .. of)
    for _, each in ipairs({ of, all[at + 1], session and session ~= '' and '1' or '' }) do answer[#answer + 1] = each end
  end
end
return answer
`;

export const SHARING = {
  enter: ENTER,
  shares: SHARES,
  tell: TELL,
  ready: READY,
  beat: BEAT,
  lapse: LAPSE,
  open: OPEN,
  forget: FORGET,
  release: RELEASE,
  leave: LEAVE,
  counters: COUNTERS,
  signs: SIGNS,
} as const;
