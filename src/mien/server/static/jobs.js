// How far a job is, in figures and in words.

import { bytes, clock, plural, span } from "./dom.js";
import { sentenceOf } from "./words.js";

/** Return how much is done, 0-1, or null where nobody knows. */
export function shareOf(job) {
  if (job.state === "uploading") return job.share;
  const { frames, total } = job.progress || {};
  return job.state === "running" && total ? Math.min(1, frames / total) : job.state === "queued" ? 0 : null;
}

/** Return a job's state in words. */
export function noteOf(job) {
  if (job.state === "uploading") return job.share < 1 ? `Uploading · ${Math.round(100 * job.share)}% of ${bytes(job.size)}` : "Uploaded · the server checks the file";
  if (job.state === "queued") return "Waiting for its turn";
  if (job.state === "running") return runningNote(job.progress);
  if (job.state === "done") return doneNote(job);
  if (job.state === "failed") return job.error ? sentenceOf(job.error) : "It failed.";
  return "Cancelled";
}

function runningNote({ frames, total, fps, left_s: left }) {
  const parts = [total ? `${frames.toLocaleString("en")} of ${plural(total, "frame")}` : plural(frames, "frame")];
  if (fps) parts.push(`${fps.toFixed(fps < 10 ? 1 : 0)} frames/s`);
  if (left !== null && left !== undefined) parts.push(left < 1 ? "almost done" : `${clock(left)} left`);
  return parts.join(" · ");
}

function doneNote(job) {
  const left = job.expires ? (new Date(job.expires) - Date.now()) / 1000 : null;
  const parts = [plural(job.progress.frames, "frame"), new Date(job.created).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })];
  if (job.error) parts.unshift("The video breaks off; what comes before is here");
  if (left !== null && left > 0) parts.push(`kept for ${span(left)} more`);
  return parts.join(" · ");
}
