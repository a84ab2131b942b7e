/** The reading thread: answers questions on its own connection, so that neither calls nor commits wait for a long one. */
import { parentPort, workerData } from "node:worker_threads";
import { type Books, openBooks, type Question } from "./books.ts";
import { openReader } from "./store.ts";

export type ReaderJob = { readonly number: number; readonly question: Question };
export type ReaderAnswer = { readonly number: number; readonly value: unknown; readonly fault: string | null };

const books = openBooks(openReader((workerData as { file: string }).file));

parentPort?.on("message", ({ number, question }: ReaderJob) => {
  try {
    // The name and its arguments were typed together on the other side of the border.
    const ask = books[question.name] as (...args: unknown[]) => ReturnType<Books[keyof Books]>;
    parentPort?.postMessage({ number, value: ask(...question.args), fault: null });
  } catch (fault) {
    parentPort?.postMessage({ number, value: null, fault: fault instanceof Error ? fault.message : String(fault) });
  }
});
