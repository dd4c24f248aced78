// What people note of a video, beside its results: kept by the server, and every change can be undone.

import { toast } from "./dom.js";
import { getJson, request, tell } from "./api.js";

/** A note of one kind ("people", "truth", "events") of a job. Fires "change" when its value is another. */
export class Note extends EventTarget {
  constructor(job, kind) {
    super();
    this.path = `v1/jobs/${encodeURIComponent(job)}/notes/${kind}`;
    this.value = [];
    this.number = 0;
    this.undoable = false;
    this.saving = Promise.resolve();
  }

  async load(signal) {
    this.take(await getJson(this.path, { signal }));
  }

  take({ value, number, undoable }) {
    Object.assign(this, { value, number, undoable });
    this.dispatchEvent(new Event("change"));
  }

  /** Note what a function makes of the value; changes wait for one another. Returns whether it was kept. */
  change(work) {
    return this.ask(() => {
      const value = work(this.value);
      return value && this.send(this.path, { method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ after: this.number, value }) });
    });
  }

  undo() {
    return this.ask(() => this.undoable && this.send(`${this.path}/undo`, { method: "POST" }));
  }

  /** Read a note from a file that the server understands. */
  read(path, file) {
    return this.ask(() => this.send(path, { method: "PUT", headers: { "Content-Type": "text/csv" }, body: file }));
  }

  async send(path, options) {
    this.take(await (await request(path, options)).json());
    return true;
  }

  ask(work) {
    this.saving = this.saving.then(work).catch(async (problem) => {
      if (problem.status === 409) {
        await this.load().catch(() => {});
        toast("Somebody else changed this meanwhile; look at it again, then change it.", "bad");
      } else tell(problem);
      return false;
    });
    return this.saving;
  }
}
