// The browser's own database for recordings; where the browser gives none, this page's memory does until it is closed.

const NAME = "mien";
const RECORDINGS = "recordings"; // what is known of each
const PART = 500; // pieces, of half a second each
const PIECES = { frames: "frames", video: "video" }; // what each consists of, in the order in which it came

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

function upgrade({ target: { result: database } }) {
  database.createObjectStore(RECORDINGS, { keyPath: "id" });
  for (const name of Object.values(PIECES)) database.createObjectStore(name, { autoIncrement: true }).createIndex("recording", "recording");
}

async function openDatabase() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = upgrade;
  return settled(request);
}

export async function openShelf() {
  try {
    return new Shelf(await openDatabase());
  } catch {
    return new Memory();
  }
}

class Shelf {
  constructor(database) {
    this.lasting = true;
    this.database = database;
  }

  all() {
    return settled(this.database.transaction(RECORDINGS).objectStore(RECORDINGS).getAll());
  }

  /** Write a recording's account and its next pieces ({frames, video: lists}): all of them or none. */
  put(recording, pieces = {}) {
    return this.change((transaction) => {
      transaction.objectStore(RECORDINGS).put(recording);
      for (const [name, values] of Object.entries(pieces)) {
        for (const value of values) transaction.objectStore(PIECES[name]).add({ recording: recording.id, value });
      }
      transaction.commit(); // now, not when the page has time again: it may be going away
    });
  }

  async pieces(name, id) {
    const index = this.database.transaction(PIECES[name]).objectStore(PIECES[name]).index("recording");
    return (await settled(index.getAll(id))).map((piece) => piece.value);
  }

  /** Yield the pieces of a long recording in lists, so that they are never in memory all at once. */
  async *parts(name, id) {
    const store = () => this.database.transaction(PIECES[name]).objectStore(PIECES[name]);
    const keys = await settled(store().index("recording").getAllKeys(id));
    for (let i = 0; i < keys.length; i += PART) {
      const range = IDBKeyRange.bound(keys[i], keys[Math.min(i + PART, keys.length) - 1]);
      yield (await settled(store().getAll(range))).filter((piece) => piece.recording === id).map((piece) => piece.value);
    }
  }

  remove(id) {
    return this.change((transaction) => {
      transaction.objectStore(RECORDINGS).delete(id);
      for (const name of Object.values(PIECES)) {
        const request = transaction.objectStore(name).index("recording").openKeyCursor(id);
        request.onsuccess = () => {
          if (!request.result) return;
          transaction.objectStore(name).delete(request.result.primaryKey);
          request.result.continue();
        };
      }
    });
  }

  change(work) {
    const transaction = this.database.transaction([RECORDINGS, ...Object.values(PIECES)], "readwrite");
    return new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
      work(transaction);
    });
  }
}

class Memory {
  constructor() {
    this.lasting = false;
    this.recordings = new Map();
    this.kept = new Map();
  }

  async all() {
    return [...this.recordings.values()];
  }

  async put(recording, pieces = {}) {
    this.recordings.set(recording.id, structuredClone(recording));
    for (const [name, values] of Object.entries(pieces)) this.kept.set(`${name} ${recording.id}`, [...(await this.pieces(name, recording.id)), ...values]);
  }

  async pieces(name, id) {
    return this.kept.get(`${name} ${id}`) || [];
  }

  async *parts(name, id) {
    yield await this.pieces(name, id);
  }

  async remove(id) {
    this.recordings.delete(id);
    for (const name of Object.values(PIECES)) this.kept.delete(`${name} ${id}`);
  }
}
