// What went wrong, in sentences for people who use the page: what it is, and what to do. The server's own words, made for
// those who write programs, are one click away.

import { h, icon } from "./dom.js";

/** What the server says → a title, and what to do about it (of what the server said, where there is a number in it). */
const SAYINGS = [
  [/is not an image mien can read/, "This is not an image", "Save it as JPEG or PNG in an image program, then add it again."],
  [/is truncated|is damaged|ends too early|cannot be decoded/, "The image is damaged", "A part of the file is missing or broken. Fetch or copy it again."],
  [/more than the limit of ([\d,]+) pixels/, "The image is too large", (limit) => `This server takes up to ${megapixels(limit)} megapixels. Make it smaller and add it again.`],
  [/is empty \(0 bytes\)|is an empty text/, "The file is empty", "Fetch or copy it again."],
  [/form has no video/, "The file is empty", "Fetch or copy it again."],
  [/not a video that FFmpeg can read/, "This is not a video, or only a part of one", "Play it on your computer to see. What plays can be saved as MP4; then add it again."],
  [/this is (?:jpeg|png|webp|bmp|tiff|gif)_pipe|this is image2/, "This is an image", "Add it under Images."],
  [/videos come as /, "This kind of file is not a video", "Save it as MP4 and add it again."],
  [/lacks? a video stream|has no video|no image in it/, "There is no image in it", "It may hold sound alone. Choose another file."],
  [/must last at most ([\d.]+) s/, "The video is too long", (limit) => `This server takes up to ${Math.floor(limit / 60) || 1} minutes. Send a part of it.`],
  [/frames of a video must have at most ([\d,]+)/, "The images of the video are too large", (limit) => `This server takes up to ${megapixels(limit)} megapixels. Save it smaller and add it again.`],
  [/s long; start_s must be less/, "The video ends before that", "Choose an earlier start under «More options»."],
  [/end_s must be after/, "The end lies before the start", "Look at both times under «More options»."],
  [/keeps no more jobs/, "The server has no room for more videos", "Remove some of yours, or wait until old ones are forgotten."],
  [/fetches no URLs/, "This server fetches nothing from addresses", "Save the image on your computer and add it from there."],
  [/took longer than/, "It took too long", "Send a shorter video, or fewer frames per second."],
  [/server ended \d+ times/, "The server broke down over this video", "Save it anew as MP4 and add it again."],
  [/last image is not answered yet/, "The server is slower than the camera", "It goes on by itself."],
  [/somebody else's list/, "This video is not yours", "Only the browser that sent it can change or remove it."],
  [/the table has no span for/, "The table says nothing of this video", "Its column «file» must name the video, or be left out."],
  [/the table.*(has the columns|is not text|overlap|row \d|no rows)/, "The table cannot be read", "It needs the columns start_s, end_s and expression, and spans that do not overlap."],
  [/no earlier change/, "There is nothing to undo", "All changes are undone already."],
  [/no job of that id/, "This video is gone", "It was removed, or its time was over. Add it again."],
];
const BY_STATUS = {
  page: ["Something went wrong on this page", "Reload it and try again."],
  0: ["The server cannot be reached", "It may have been stopped, or there is no network. The page goes on when it answers."],
  401: ["The server wants its token", "Reload the page and type it in."],
  403: ["The server does not allow this", "Ask the person who runs it."],
  404: ["This is gone", "It was removed, or its time was over."],
  408: ["It came too slowly", "Try again on a faster network."],
  409: ["There is no result yet", "Wait until the video is done."],
  413: ["This is too large", "Make it smaller and try again."],
  415: ["This kind of file is not taken", "Save it as JPEG or MP4 and try again."],
  422: ["This cannot be used", "Choose another file, or other settings."],
  429: ["Too much at once", "Wait a moment, then try again."],
  500: ["Something went wrong in the server", "Try again; if it happens again, tell the person who runs it."],
  501: ["This server lacks a part for that", "Choose another face detector, or ask the person who runs it."],
  503: ["The server has too much to do", "Try again in a moment."],
  507: ["The server’s disk is full", "Try again when the person who runs it has made some room."],
};

const megapixels = (text) => (Number(text.replaceAll(",", "")) / 1e6).toLocaleString("en", { maximumFractionDigits: 1 });

/** Return {title, words, technical} of a problem. */
export function said({ status = "page", title = "", detail = "", message = "" }) {
  const technical = [Number(status) || "", title, detail || message].filter(Boolean).join(" · ");
  for (const [pattern, about, words] of SAYINGS) {
    const found = detail.match(pattern);
    if (found) return { title: about, words: typeof words === "string" ? words : words(found[1]), technical };
  }
  const [about, words] = BY_STATUS[status] || BY_STATUS[500];
  return { title: about, words, technical };
}

export const sentenceOf = (problem) => `${said(problem).title}. ${said(problem).words}`;

/** Return a fold with the server's own words. */
export const technicalOf = (problem) => h("details", { class: "technical" }, h("summary", {}, "Technical details"), h("p", {}, said(problem).technical));

/** Return a box that tells of a problem. */
export function problemBox(problem) {
  const { title, words } = said(problem);
  return h("div", { class: "problem" }, icon("warn"), h("div", {}, h("b", {}, title), h("p", {}, words), technicalOf(problem)));
}
