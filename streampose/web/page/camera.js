// The local camera.

import { cameraTrouble, notSecure } from "./words.js";

export async function openCamera() {
  if (!window.isSecureContext || navigator.mediaDevices === undefined) throw notSecure();
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30, max: 30 }, facingMode: "user" },
    });
  } catch (error) {
    throw cameraTrouble(error);
  }
}
