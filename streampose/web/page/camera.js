// The local camera.

import { cameraTrouble, noPicture, notSecure } from "./words.js";

const PICTURE_MS = 8000;

/** `chosen`: the id of one; without, the one that faces the visitor. */
export async function openCamera(chosen) {
  if (!window.isSecureContext || navigator.mediaDevices === undefined) throw notSecure();
  const which = chosen ? { deviceId: chosen } : { facingMode: "user" };
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30, max: 30 }, ...which },
    });
  } catch (error) {
    throw cameraTrouble(error);
  }
}

/** Shows a camera in a video. Resolves when there is a picture. */
export async function showCamera(video, camera) {
  video.srcObject = camera;
  const late = new Promise((_, reject) => setTimeout(() => reject(noPicture()), PICTURE_MS));
  await Promise.race([video.play(), late]);
}

/** Lists the cameras in a select, the open one chosen: browsers name them when one has been allowed. Resolves to how many. */
export async function listCameras(select, open) {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
  select.replaceChildren(...cameras.map(({ deviceId, label }, i) => new Option(label || `Camera ${i + 1}`, deviceId)));
  select.value = open.getVideoTracks()[0].getSettings().deviceId;
  return cameras.length;
}
