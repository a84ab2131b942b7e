/** Pure. The Lua of the shared ledger that counts: hold, extend, post, weigh. Each runs alone in Redis, whole or not at all. */

/**
 * What all scripts begin with. KEYS[1] is the control hash; every other key is made of its name, under the same hash tag.
 *
 * The control hash: `incarnation` of the Redis process, `epoch` that its counters belong to, `open`, `latest` time, and by gateway
 * `s:` its session, `r:` the epoch that it has told its share to, `b:` its last sign of life, `x:` while its holds are being ended.
 *
 * A counter is a hash: `c`, `h`, `d` over all gateways, `c:GW`, `h:GW`, `d:GW` of one, `l:GW` what of its `h` no call holds yet, `e` its
 * end. Numbers are whole and below 2^53; `tostring` would write large ones as 1e+15.
 */
export function prelude(time: string): string {
  return `
local control = KEYS[1]
local P = string.sub(control, 1, -8)
local MOST = 9007199254740991
local KEPT_MS = 3600000
local function whole(n) return string.format('%.0f', n) end
local function number(text) return tonumber(text or '0') or 0 end
local function time() ${time} end
-- Never backwards: a clock that is set back must not open a window that has closed.
local function clock()
  return math.max(time(), number(redis.call('HGET', control, 'latest')))
end
local function tick()
  local now = clock()
  redis.call('HSET', control, 'latest', whole(now))
  return now
end
local function counter(epoch, name) return P .. 'e' .. epoch .. ':c:' .. name end
local function index(epoch) return P .. 'e' .. epoch .. ':all' end
local function own(epoch, gw) return P .. 'e' .. epoch .. ':own:' .. gw end
-- An old connection's late word, or that of an epoch which is over, changes nothing.
local function stranger(epoch, gw, session)
  local known = redis.call('HMGET', control, 'epoch', 's:' .. gw, 'r:' .. gw)
  return known[1] ~= epoch or known[2] ~= session, known[3] ~= epoch
end
local function keep(epoch, gw, name, ends, now)
  local key = counter(epoch, name)
  if redis.call('HGET', key, 'e') ~= ends then
    redis.call('HSET', key, 'e', ends)
    if ends == '' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, whole(math.max(1, number(ends) - now + KEPT_MS))) end
    redis.call('ZADD', index(epoch), ends == '' and '+inf' or ends, name)
  end
  if redis.call('HEXISTS', key, 'h:' .. gw) == 0 then
    redis.call('HSET', key, 'h:' .. gw, '0')
    redis.call('ZADD', own(epoch, gw), ends == '' and '+inf' or ends, name)
  end
  return key
end
local function lines(first, width)
  local found = {}
  for at = first, #ARGV, width do
    found[#found + 1] = { share = ARGV[at], start = ARGV[at + 1], ends = ARGV[at + 2], turn = ARGV[at + 3],
      slot = number(ARGV[at + 4]), span = number(ARGV[at + 5]), ceiling = tonumber(ARGV[at + 6]) or MOST,
      hard = ARGV[at + 6] ~= '', amount = tonumber(ARGV[at + 7]), extra = ARGV[at + 8], notify = ARGV[at + 9] }
    local line = found[#found]
    line.name = line.share .. '\\0' .. line.start
  end
  return found
end
local function turned(all, now)
  for _, line in ipairs(all) do
    if now < number(line.start) or (line.turn ~= '' and now >= number(line.turn)) then return true end
  end
  return false
end
-- All that counts against the limit: of one window, or of every slot of a rolling one that has not gone by.
local function standing(epoch, line, now, slots)
  local c, h, d = 0, 0, 0
  local start = number(line.start)
  -- Of a rolling window the slot of now is the last one, whichever the hold was in.
  if line.slot > 0 then start = math.max(start, math.floor(now / line.slot) * line.slot) end
  repeat
    local at = redis.call('HMGET', counter(epoch, line.share .. '\\0' .. whole(start)), 'c', 'h', 'd', 'e')
    -- A slot of another length is of another window.
    if line.slot == 0 or number(at[4]) == start + line.span then
      c, h, d = c + number(at[1]), h + number(at[2]), d + number(at[3])
      if slots and line.slot > 0 and at[4] then
        slots[#slots + 1] = whole(start)
        slots[#slots + 1] = whole(number(at[1]) + number(at[2]) + number(at[3]))
      end
    end
    start = start - line.slot
  until line.slot == 0 or start + line.span <= now
  return c, h, d
end
local function sliceOf(epoch, line, gw)
  return number(redis.call('HGET', counter(epoch, line.name), 'l:' .. gw))
end
-- Of all that is used there, what others use: a gateway goes by it while nobody can be asked.
local function othersIn(epoch, line, gw, used)
  local mine = redis.call('HMGET', counter(epoch, line.name), 'c:' .. gw, 'h:' .. gw, 'd:' .. gw)
  return used - number(mine[1]) - number(mine[2]) - number(mine[3])
end
`;
}

/** Fields of one line in ARGV, as `lines` of the prelude reads them. */
export const LINE_WIDTH = 10;

/** ARGV: epoch, gateway, session, most counters, lines (`extra`: what to set aside beyond the hold). */
const HOLD = `
local epoch, gw = ARGV[1], ARGV[2]
local isStranger, isNew = stranger(epoch, gw, ARGV[3])
if isStranger or isNew then return { 'stranger' } end
local all = lines(5, 10)
local now = tick()
if redis.call('HGET', control, 'open') ~= '1' then
  for _, line in ipairs(all) do if line.hard then return { 'filling', whole(now) } end end
end
if turned(all, now) then return { 'turned', whole(now) } end
local pending = {}
for i, line in ipairs(all) do
  local slots = {}
  local c, h, d = standing(epoch, line, now, slots)
  local mine = pending[line.name]
  if mine == nil then
    mine = { line = line, added = 0, slice = sliceOf(epoch, line, gw), sliceBefore = 0 }
    mine.sliceBefore = mine.slice
    pending[line.name] = mine
    mine.isKnown = redis.call('EXISTS', counter(epoch, line.name)) == 1
  end
  local room = line.ceiling - c - h - d - mine.added
  local needed = line.amount or 1
  if line.amount ~= 0 and room + mine.slice < needed then
    local why = room + mine.slice < 1 and 'exhausted' or 'insufficient'
    local answer = { 'no', whole(now), i, why, whole(c), whole(h + mine.added - mine.slice), whole(d) }
    for _, each in ipairs(slots) do answer[#answer + 1] = each end
    return answer
  end
  local held = line.amount or 0
  local fromSlice = math.min(mine.slice, math.max(0, held - math.max(0, room)))
  mine.slice = mine.slice - fromSlice
  mine.added = mine.added + held - fromSlice
  line.c, line.h, line.d = c, h, d
end
local made = 0
for _, mine in pairs(pending) do if not mine.isKnown then made = made + 1 end end
if made > 0 and redis.call('ZCARD', index(epoch)) + made > number(ARGV[4]) then return { 'full' } end
for _, line in ipairs(all) do
  local mine = pending[line.name]
  local wanted = number(line.extra) - mine.slice
  if line.hard and wanted > 0 then
    local extra = math.min(wanted, line.ceiling - line.c - line.h - line.d - mine.added)
    if extra > 0 then
      mine.slice = mine.slice + extra
      mine.added = mine.added + extra
    end
  end
end
for _, mine in pairs(pending) do
  local key = keep(epoch, gw, mine.line.name, mine.line.ends, now)
  if mine.added ~= 0 then
    redis.call('HINCRBY', key, 'h', whole(mine.added))
    redis.call('HINCRBY', key, 'h:' .. gw, whole(mine.added))
  end
  if mine.slice ~= mine.sliceBefore then redis.call('HSET', key, 'l:' .. gw, whole(mine.slice)) end
end
local answer = { 'held', whole(now) }
for _, line in ipairs(all) do
  local mine = pending[line.name]
  answer[#answer + 1] = whole(line.c)
  answer[#answer + 1] = whole(line.h + mine.added - mine.slice)
  answer[#answer + 1] = whole(line.d)
  answer[#answer + 1] = whole(mine.slice)
  answer[#answer + 1] = mine.slice == 0 and '0' or whole(othersIn(epoch, line, gw, line.c + line.h + line.d + mine.added))
end
return answer
`;

/**
 * ARGV: epoch, gateway, session, lines (`amount`: what was used above the hold; `extra`: 'w' where a result that is not carried is
 * withheld). Windows are those of the hold, also when they have ended since. Before the epoch is open the sums are those of some
 * gateways only: then nothing is carried but what had been set aside, and all of it or nothing.
 */
const EXTEND = `
local epoch, gw = ARGV[1], ARGV[2]
local isStranger, isNew = stranger(epoch, gw, ARGV[3])
if isStranger or isNew then return { 'stranger' } end
local all = lines(4, 10)
local now = tick()
local isOpen = redis.call('HGET', control, 'open') == '1'
-- What no slice is needed for, and all that it may take.
local function roomOn(line, c, h, d, own)
  local free = line.ceiling - c - h - d
  if line.hard and not isOpen then return 0, math.min(own, free + own) end
  return free, free + own
end
for i, line in ipairs(all) do
  local c, h, d = standing(epoch, line, now)
  local own = sliceOf(epoch, line, gw)
  local _, room = roomOn(line, c, h, d, own)
  if line.amount > 0 and line.amount > room then
    if line.hard and not isOpen then return { 'filling', whole(now) } end
    if line.extra == 'w' then return { 'over', whole(now), i, whole(c), whole(h - own), whole(d) } end
  end
end
local answer = { 'extended', whole(now) }
for _, line in ipairs(all) do
  local c, h, d = standing(epoch, line, now)
  local key = counter(epoch, line.name)
  local own = sliceOf(epoch, line, gw)
  local free, room = roomOn(line, c, h, d, own)
  local extended = math.min(line.amount, math.max(0, room))
  local fromSlice = math.min(own, math.max(0, extended - math.max(0, free)))
  local others = own == fromSlice and 0 or othersIn(epoch, line, gw, c + h + d)
  if redis.call('EXISTS', key) == 1 then
    if fromSlice > 0 then redis.call('HSET', key, 'l:' .. gw, whole(own - fromSlice)) end
    redis.call('HINCRBY', key, 'h', whole(extended - fromSlice))
    redis.call('HINCRBY', key, 'h:' .. gw, whole(extended - fromSlice))
  end
  answer[#answer + 1] = whole(extended)
  answer[#answer + 1] = whole(math.max(0, math.min(line.amount - extended, MOST - c - h - d - extended)))
  answer[#answer + 1] = whole(own - fromSlice)
  answer[#answer + 1] = whole(others)
end
return answer
`;

/**
 * ARGV: epoch, gateway, session, then by line: share, start, slot, span, limit, percents, the changes of held, committed and debt, and the
 * window's end. What nobody has held on yet (a debt that is reported) makes its counter. Answers the thresholds that are reached,
 * whoever has crossed them and when, by line: percent, what is spent, and '1' where this has crossed it. In an epoch that is filled again
 * nobody knows which that are.
 */
const POST = `
local epoch, gw = ARGV[1], ARGV[2]
local isStranger, isNew = stranger(epoch, gw, ARGV[3])
if isStranger or isNew then return { 'stranger' } end
local now = clock()
local isOpen = redis.call('HGET', control, 'open') == '1'
local answer = { 'posted' }
for at = 4, #ARGV, 10 do
  local line = { share = ARGV[at], start = ARGV[at + 1], slot = number(ARGV[at + 2]), span = number(ARGV[at + 3]) }
  local limit, notify = number(ARGV[at + 4]), ARGV[at + 5]
  local held, posted, debt, ends = ARGV[at + 6], ARGV[at + 7], ARGV[at + 8], ARGV[at + 9]
  local key = counter(epoch, line.share .. '\\0' .. line.start)
  if redis.call('HEXISTS', key, 'h:' .. gw) == 0 and (ends == '' or number(ends) > now) then
    keep(epoch, gw, line.share .. '\\0' .. line.start, ends, now)
  end
  -- Of a window that ended long ago nothing is left, and nothing is asked.
  if redis.call('EXISTS', key) == 1 then
    local before = 0
    if notify ~= '' then
      local c, _, d = standing(epoch, line, now)
      before = c + d
    end
    for field, change in pairs({ h = held, c = posted, d = debt }) do
      if change ~= '0' then
        redis.call('HINCRBY', key, field, change)
        redis.call('HINCRBY', key, field .. ':' .. gw, change)
      end
    end
    local after = before + number(posted) + number(debt)
    for percent in string.gmatch(isOpen and notify or '', '%d+') do
      local mark = limit * number(percent)
      if mark > 0 and after * 100 >= mark then
        local isCrossing = before * 100 < mark and '1' or '0'
        for _, each in ipairs({ whole((at - 4) / 10), percent, whole(after), isCrossing }) do answer[#answer + 1] = each end
      end
    end
  end
end
return answer
`;

/** ARGV: epoch, gateway, lines. Changes nothing. By line: committed, held, debt, room of its own that is set aside, count of slots, slots. */
const WEIGH = `
local epoch, gw = ARGV[1], ARGV[2]
if redis.call('HGET', control, 'epoch') ~= epoch then return { 'stranger' } end
local all = lines(3, 10)
local now = clock()
if turned(all, now) then return { 'turned', whole(now) } end
local answer = { redis.call('HGET', control, 'open') == '1' and 'open' or 'filling', whole(now) }
for _, line in ipairs(all) do
  local slots = {}
  local c, h, d = standing(epoch, line, now, slots)
  for _, each in ipairs({ whole(c), whole(h - sliceOf(epoch, line, gw)), whole(d), whole(#slots) }) do answer[#answer + 1] = each end
  for _, each in ipairs(slots) do answer[#answer + 1] = each end
end
return answer
`;

export const COUNTING = { hold: HOLD, extend: EXTEND, post: POST, weigh: WEIGH } as const;
