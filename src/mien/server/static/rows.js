// Rows as the command line writes them, made in the browser.

const BASE = ["source", "frame", "time_s", "face", "track_id", "x1", "y1", "x2", "y2", "score", "expression", "confidence"];

export function columnsOf(names, tracked) {
  return [...BASE, ...names, ...(tracked ? ["steady_expression", ...names.map((name) => `smooth_${name}`), "baseline"] : [])];
}

/** The columns of a recording: those of a video and of what was measured, then the time of day, the label set, and the markers set since the last frame. */
export const recordedColumns = (names, measures) => [...columnsOf(names, true), ...measures, "clock", "labels", "mark"];

/** Return the rows of a recorded frame; one without faces has a row without a face. */
export function recordedRows({ frame, time_s, source, faces, ...rest }, { names, measures }, mark) {
  const blank = Object.fromEntries(recordedColumns(names, measures).map((column) => [column, null]));
  const shared = { ...blank, source, frame, time_s, clock: rest.clock, labels: rest.labels, mark };
  if (!faces.length) return [shared];
  return faces.map(({ box, probs, smoothed, ...face }, number) => {
    const [x1, y1, x2, y2] = box;
    const row = { ...shared, face: number, track_id: face.track_id, x1, y1, x2, y2, score: face.score, expression: face.expression };
    Object.assign(row, { confidence: face.confidence, steady_expression: face.steady_expression }, face.attributes && { ...face.attributes, note: face.note });
    for (const name of names) {
      row[name] = probs?.[name] ?? null;
      row[`smooth_${name}`] = smoothed?.[name] ?? null;
    }
    return row;
  });
}

/** Return markers as a table of events: seconds since the recording began, how long, what. */
export function toEvents(marks) {
  const lines = marks.map(({ time_s, mark, clock }) => [time_s, 0, mark, clock].join("\t"));
  return new Blob([["onset\tduration\ttrial_type\tclock", ...lines].join("\n"), "\n"], { type: "text/tab-separated-values" });
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

const lineOf = (columns) => (row) => `${columns.map((column) => cell(row[column])).join(",")}\r\n`;
const jsonLine = (row) => `${JSON.stringify(row)}\n`;

export const toCsv = (rows, columns) => new Blob([`${columns.join(",")}\r\n`, ...rows.map(lineOf(columns))], { type: "text/csv" });

/** Make a table of rows that come by and by (lists of them): each part is a blob, which the browser may keep on its disk. */
export async function toLongCsv(parts, columns) {
  const blobs = [new Blob([`${columns.join(",")}\r\n`])];
  for await (const rows of parts) blobs.push(new Blob(rows.map(lineOf(columns))));
  return new Blob(blobs, { type: "text/csv" });
}

export async function toLongJsonl(parts) {
  const blobs = [];
  for await (const rows of parts) blobs.push(new Blob(rows.map(jsonLine)));
  return new Blob(blobs, { type: "application/jsonl" });
}

export const toJson = (value) => new Blob([JSON.stringify(value, null, 2), "\n"], { type: "application/json" });
