/** A proxy in front of a database, byte for byte: replies that get lost, questions cut in half, resets, delays, partitions. */

import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";
import type { FaultyProxy } from "./faulty-http.ts";

/** Greeting, log-in and the look for tables: a connection that never stands proves nothing. */
const PEACEFUL_REPLIES = 6;
const DROPPED_REPLY = 0.3;
const CUT_QUESTION = 0.02;
const DELAYED = 0.1;
const DELAY_MAX_MS = 30;

export async function faultyTcp(to: number, random: () => number): Promise<FaultyProxy> {
  const counts: Record<string, number> = {};
  const sockets = new Set<Socket>();
  let parted = false;
  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  const server = createServer((client) => {
    const upstream = connect(to, "127.0.0.1");
    let replies = 0;
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", end).on("close", () => {
        sockets.delete(socket);
        end();
      });
    }
    count("connections");
    if (parted) return end();
    client.on("data", (bytes) => {
      if (replies > PEACEFUL_REPLIES && random() < CUT_QUESTION) {
        count("cut");
        upstream.write(bytes.subarray(0, Math.ceil(bytes.length / 2)), end);
      } else upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      replies += 1;
      if (replies > PEACEFUL_REPLIES && random() < DROPPED_REPLY) {
        count("droppedReply");
        return end();
      }
      if (random() >= DELAYED) return void client.write(bytes);
      upstream.pause();
      setTimeout(() => {
        client.write(bytes);
        upstream.resume();
      }, random() * DELAY_MAX_MS);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const reset = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    counts,
    partition(on) {
      parted = on;
      if (on) {
        count("partitions");
        reset();
      }
    },
    close: async () => {
      reset();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
