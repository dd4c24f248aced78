// A worker: turns an image into a JPEG file off the page's own thread, and keeps time while the page is hidden.

let canvas = null;

self.onmessage = async ({ data: { id, bitmap, wait } }) => {
  if (wait !== undefined) {
    setTimeout(() => self.postMessage({ id }), wait);
    return;
  }
  try {
    const { width, height } = bitmap;
    if (!canvas || canvas.width !== width || canvas.height !== height) canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    bitmap.close();
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
    const buffer = await blob.arrayBuffer();
    self.postMessage({ id, buffer }, [buffer]);
  } catch (error) {
    self.postMessage({ id, error: String(error) });
  }
};
