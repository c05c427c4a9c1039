// Why the hub did not do something, as it says in the body of its answer (RFC 9457).

/** Reads the problem of an answer: an object, or null where the answer has none. */
export async function readProblem(answer) {
  try {
    return /\bjson\b/.test(answer.headers.get("Content-Type") ?? "") ? await answer.json() : null;
  } catch {
    return null;
  }
}
