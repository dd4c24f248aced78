// Images from a camera or a shared screen, made small and encoded for the stream.

export const CAMERA_PX = 640;
export const SCREEN_PX = 1280; // faces on a screen are small

export const possible = () => Boolean(navigator.mediaDevices?.getUserMedia);
export const screenPossible = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/** Ask the browser for the camera. Raises DOMException; its name says why not. */
export function openCamera(deviceId) {
  const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  return navigator.mediaDevices.getUserMedia({
    audio: false,
    video: deviceId ? { ...video, deviceId: { exact: deviceId } } : { ...video, facingMode: "user" },
  });
}

export function openScreen() {
  return navigator.mediaDevices.getDisplayMedia({ audio: false, video: { frameRate: { ideal: 15 } } });
}

export async function cameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter((device) => device.kind === "videoinput" && device.deviceId);
}

/** Encodes what a video element shows, with at most `longest` pixels on its longer side. */
export class Grabber {
  constructor(video) {
    this.video = video;
    this.longest = CAMERA_PX;
    this.calls = new Map();
    this.next = 0;
    this.canvas = null;
    if (window.OffscreenCanvas && window.Worker) {
      this.worker = new Worker("encoder.js");
      this.worker.onmessage = ({ data }) => this.settle(data);
      this.worker.onerror = () => this.giveUp();
    }
  }

  /** Return {data, width, height}, or null while the video has no image. */
  async grab() {
    const { videoWidth, videoHeight } = this.video;
    if (!videoWidth || this.video.readyState < 2) return null;
    const scale = Math.min(1, this.longest / Math.max(videoWidth, videoHeight));
    const [width, height] = [Math.round(videoWidth * scale), Math.round(videoHeight * scale)];
    return { data: await this.encode(width, height), width, height };
  }

  /** Wait, also in a hidden tab, where the page's own clock is slowed down. */
  pause(ms) {
    return this.worker ? this.call({ wait: ms }) : new Promise((resolve) => setTimeout(resolve, ms));
  }

  async encode(width, height) {
    if (this.worker && !this.onPage) {
      try {
        return await this.inWorker(width, height);
      } catch {
        this.onPage = true; // not every browser makes bitmaps of videos or encodes in workers
      }
    }
    return this.here(width, height);
  }

  async inWorker(width, height) {
    const bitmap = await createImageBitmap(this.video, { resizeWidth: width, resizeHeight: height, resizeQuality: "medium" });
    return (await this.call({ bitmap }, [bitmap])).buffer;
  }

  here(width, height) {
    this.canvas ??= document.createElement("canvas");
    [this.canvas.width, this.canvas.height] = [width, height];
    this.canvas.getContext("2d", { alpha: false }).drawImage(this.video, 0, 0, width, height);
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/jpeg", 0.85));
  }

  call(message, transfer = []) {
    return new Promise((resolve, reject) => {
      this.next += 1;
      this.calls.set(this.next, { resolve, reject });
      this.worker.postMessage({ ...message, id: this.next }, transfer);
    });
  }

  settle({ id, error, ...answer }) {
    const call = this.calls.get(id);
    this.calls.delete(id);
    if (error) call.reject(new Error(error));
    else call.resolve(answer);
  }

  /** The worker does not run here: encode on the page. */
  giveUp() {
    this.worker = null;
    for (const { reject } of this.calls.values()) reject(new Error("no worker"));
    this.calls.clear();
  }
}
