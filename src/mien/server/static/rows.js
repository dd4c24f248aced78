// Rows as the command line writes them, made in the browser.

const BASE = ["source", "frame", "time_s", "face", "track_id", "x1", "y1", "x2", "y2", "score", "expression", "confidence"];

export function columnsOf(names, tracked) {
  return [...BASE, ...names, ...(tracked ? ["steady_expression", ...names.map((name) => `smooth_${name}`), "baseline"] : [])];
}

/** Return the row of a face of a live stream. */
export function liveRow(face, number, answer, names, source) {
  const [x1, y1, x2, y2] = face.box;
  const row = {
    source, frame: answer.frame, time_s: answer.time_s, face: number, track_id: face.track_id,
    x1, y1, x2, y2, score: face.score, expression: face.expression, confidence: face.confidence,
  };
  for (const name of names) row[name] = face.probs?.[name] ?? null;
  row.steady_expression = face.steady_expression;
  for (const name of names) row[`smooth_${name}`] = face.smoothed?.[name] ?? null;
  row.baseline = null;
  return row;
}

const FORMULA = /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** Return a cell that no spreadsheet takes for a formula: see `guarded_cells` in mien/files.py. */
function cell(value) {
  if (value === null || value === undefined) return "";
  const guard = typeof value === "string" && FORMULA.test(value) && !NUMBER.test(value);
  const words = guard ? `'${value}` : String(value);
  return /[",\r\n]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
}

export function toCsv(rows, columns) {
  const lines = [columns.join(","), ...rows.map((row) => columns.map((column) => cell(row[column])).join(","))];
  return new Blob([lines.join("\r\n"), "\r\n"], { type: "text/csv" });
}

export function toJsonl(rows) {
  return new Blob(rows.map((row) => `${JSON.stringify(row)}\n`), { type: "application/jsonl" });
}

export const toJson = (value) => new Blob([JSON.stringify(value, null, 2), "\n"], { type: "application/json" });
