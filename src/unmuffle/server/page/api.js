// Requests to the server: one door, so that keys, errors and a server that is gone are treated in one place.

const KEY = 'unmuffle-key';

export class ServerError extends Error {
  constructor(message, kind = 'Error', status = 0) {
    super(message);
    this.name = 'ServerError';
    this.kind = kind;
    this.status = status;
  }
}

/** The API key, in this tab's session only; "" on a server without keys. */
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? '',
  set: (value) => { if (value) sessionStorage.setItem(KEY, value); else sessionStorage.removeItem(KEY); },
};

const handlers = { keyNeeded: null, reached: () => {}, gone: () => {} };

/** What to do when a key is wanted (resolves when there is one), and when the server answers or does not. */
export function onServer(given) { Object.assign(handlers, given); }

function headers() {
  return key.get() ? { 'X-API-Key': key.get() } : {};
}

function failed(status, text) {
  try {
    const { error, kind } = JSON.parse(text);
    return new ServerError(error, kind, status);
  } catch {
    return new ServerError(`the server answered with ${status}`, 'HTTPError', status);
  }
}

let goneAt = 0;

function unreachable() {
  goneAt = performance.now();
  handlers.gone();
  return new ServerError('The server does not answer. Is it still running?', 'Offline');
}

async function withKey(attempt) {
  for (;;) {
    const began = performance.now();
    try {
      const answer = await attempt();
      if (began > goneAt) handlers.reached(); // an answer to what was asked before says nothing of now
      return answer;
    } catch (error) {
      if (error.status !== 401 || !handlers.keyNeeded) throw error;
      await handlers.keyNeeded(error);
    }
  }
}

/** A request; resolves to the Response. */
export function ask(path, { method = 'GET', signal } = {}) {
  return withKey(async () => {
    let answer;
    try {
      answer = await fetch(path, { method, signal, headers: headers(), cache: 'no-store' });
    } catch (error) {
      throw error.name === 'AbortError' ? error : unreachable();
    }
    if (!answer.ok) throw failed(answer.status, await answer.text());
    return answer;
  });
}

export const askJson = async (path, options) => (await ask(path, options)).json();

/** Send a file as the body (XMLHttpRequest: fetch tells no progress); resolves to the JSON of the answer. */
export function upload(path, file, { signal, progress = () => {} } = {}) {
  return withKey(() => new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', path);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.setRequestHeader('Content-Type', 'application/octet-stream');
    request.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : null);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(failed(request.status, request.responseText));
    };
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(new DOMException('cancelled', 'AbortError'));
    if (signal?.aborted) { reject(new DOMException('cancelled', 'AbortError')); return; }
    signal?.addEventListener('abort', () => request.abort(), { once: true });
    request.send(file);
  }));
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => { clearTimeout(timer); reject(new DOMException('cancelled', 'AbortError')); }, { once: true });
  });
}

/**
 * Submit a file as a job and wait for it; resolves to { view, response }. The job is deleted at the end, in any case.
 * `told(stage, share)`: stage is "upload", "queue" or "work", the share 0 to 1 or null.
 */
export async function job(path, file, { signal, told = () => {} }) {
  told('upload', 0);
  let view = await upload(path, file, { signal, progress: (share) => told('upload', share) });
  const address = `/jobs/${view.id}`;
  try {
    for (let wait = 60; view.status === 'queued' || view.status === 'running'; wait = Math.min(500, wait * 1.4)) {
      told(view.status === 'queued' ? 'queue' : 'work', view.status === 'queued' ? null : view.progress);
      await pause(wait, signal);
      view = await askJson(address, { signal });
    }
    if (view.error) throw new ServerError(view.error, view.kind, view.code);
    told('work', 1);
    const response = await ask(`${address}/result`, { signal });
    return { view, body: await response.blob(), disposition: response.headers.get('content-disposition') ?? '' };
  } finally {
    ask(address, { method: 'DELETE' }).catch(() => {});
  }
}

/** The file name of a Content-Disposition. */
export function filenameOf(disposition, fallback) {
  const coded = /filename\*=UTF-8''([^;]+)/.exec(disposition);
  if (coded) return decodeURIComponent(coded[1]);
  return /filename="([^"]+)"/.exec(disposition)?.[1] ?? fallback;
}

/** Offer a Blob as a download. */
export function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
