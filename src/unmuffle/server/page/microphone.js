// The microphone: asking for it in words that help when the answer is no, and recording without loss.

import { encodeWav } from './wav.js';

const WORDS = {
  NotAllowedError: 'The browser was not allowed to use the microphone. Allow it beside the address of this page, and try again.',
  NotFoundError: 'There is no microphone. Plug one in, or check the sound settings of this computer.',
  NotReadableError: 'The microphone cannot be opened; another program may hold it.',
  OverconstrainedError: 'That microphone is not there any more; choose another one.',
};

/** Its stream, raw: browsers would clean it in ways of their own. */
export async function openMicrophone(deviceId = '') {
  if (!navigator.mediaDevices) {
    throw new Error('Browsers give the microphone only to pages over https or from this very computer (127.0.0.1).');
  }
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  if (deviceId) audio.deviceId = { exact: deviceId };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new Error(WORDS[error.name] ?? `The microphone cannot be used: ${error.message}`);
  }
}

export function closeMicrophone(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** A recording that runs; `stop()` gives a WAV file of 32-bit floats. */
export class Recorder {
  #stream; #context; #parts = [];

  static async start() {
    const made = new Recorder();
    made.#stream = await openMicrophone();
    const context = made.#context = new AudioContext();
    await context.audioWorklet.addModule('/page/worklets.js');
    const node = new AudioWorkletNode(context, 'capture', { numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' });
    node.port.onmessage = ({ data }) => made.#parts.push(data);
    context.createMediaStreamSource(made.#stream).connect(node);
    await context.resume();
    return made;
  }

  get seconds() { return this.#parts.length * 4096 / this.#context.sampleRate; }

  async stop() {
    closeMicrophone(this.#stream);
    const rate = this.#context.sampleRate;
    await this.#context.close();
    if (!this.#parts.length) throw new Error('Nothing was recorded.');
    return new File([encodeWav([join(this.#parts)], rate)], 'recording.wav', { type: 'audio/wav' });
  }
}

/** Pieces in one array. */
export function join(parts) {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}
