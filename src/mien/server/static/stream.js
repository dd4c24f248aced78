// The live stream: one image under way at a time, and a new connection whenever one is lost.

import { askForToken, getJson, note, streamAddress, streamProtocols, token } from "./api.js";

const WAITS_S = [0.5, 1, 2, 4, 8];
const ANSWER_MS = 15_000;

/**
 * Events: "ready" (detail: labels of the server), "faces" (an answer), "refused" (the problem of one image),
 * "away" ({seconds, problem, busy}: no connection, the next try in so many seconds).
 */
export class Stream extends EventTarget {
  constructor(settings) {
    super();
    this.settings = settings;
    this.wanted = false;
    this.socket = null;
    this.tries = 0;
    this.problem = null;
    this.ready = false;
    this.sentAt = null;
  }

  open() {
    this.wanted = true;
    this.connect();
  }

  close() {
    this.wanted = false;
    clearTimeout(this.timer);
    clearTimeout(this.watch);
    this.ready = false;
    this.socket?.close(1000);
    this.socket = null;
  }

  /** Use other settings from the next image on. */
  configure(settings) {
    this.settings = settings;
    this.passing = this.ready && this.sentAt !== null;
    if (this.ready && this.connected) this.greet();
  }

  /** Whether an image may be sent now. */
  get free() {
    return this.ready && this.connected && this.sentAt === null;
  }

  /** A socket that is closing says so here before it says it by an event. */
  get connected() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  send(image) {
    this.sentAt = performance.now();
    this.socket.send(image);
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.socket?.close(), ANSWER_MS);
  }

  connect() {
    clearTimeout(this.timer);
    this.ready = false;
    this.sentAt = null;
    this.passing = false;
    this.problem = null;
    this.opened = false;
    const socket = new WebSocket(streamAddress(), streamProtocols());
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.opened = true;
      this.greet();
    };
    socket.onmessage = ({ data }) => socket === this.socket && this.take(JSON.parse(data));
    socket.onclose = () => socket === this.socket && this.lose();
  }

  greet() {
    this.socket.send(JSON.stringify(this.settings));
  }

  take(message) {
    if (message.type === "ready") {
      note(true);
      this.ready = true;
      this.tries = 0;
      this.tell("ready", message);
    } else if (message.type === "faces") {
      const ms = this.answered();
      if (!this.passing) this.tell("faces", { ...message, delay: ms }); // not that of an image sent with other settings
      this.passing = false;
    } else if (message.type === "error") {
      if (message.frame !== null && message.frame !== undefined) this.answered();
      this.problem = message.problem;
      if (this.ready) this.tell("refused", message.problem);
    } else if (message.type === "closing") {
      this.problem = { title: "The server is stopping", detail: message.reason };
    }
  }

  answered() {
    clearTimeout(this.watch);
    const ms = this.sentAt === null ? 0 : performance.now() - this.sentAt;
    this.sentAt = null;
    return ms;
  }

  async lose() {
    clearTimeout(this.watch);
    this.ready = false;
    this.sentAt = null;
    if (!this.wanted) return;
    if (this.problem?.status === 401) {
      await askForToken(Boolean(token()));
      if (this.wanted) this.connect();
      return;
    }
    if (!this.opened && token()) {
      const sent = token();
      await getJson("v1/models").catch(() => {}); // a refused handshake does not say why; this asks for the token
      if (!this.wanted) return;
      if (token() !== sent) {
        this.connect();
        return;
      }
    }
    const busy = [429, 503].includes(this.problem?.status);
    if (!this.problem) note(false);
    const seconds = busy ? 3 : WAITS_S[Math.min(this.tries, WAITS_S.length - 1)];
    this.tries += 1;
    this.timer = setTimeout(() => this.connect(), 1000 * seconds);
    this.tell("away", { seconds, busy, problem: this.problem });
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
