// The page: tabs, the key, whether the server is there. Each tab has a file of its own.

import { askJson, key, onServer, ServerError } from './api.js';
import { FilePanel } from './file.js';
import { LivePanel } from './live.js';

const $ = (id) => document.getElementById(id);

// -- tabs -----------------------------------------------------------------------------------------

const TABS = ['file', 'live'];

function show(name) {
  for (const tab of TABS) {
    const chosen = tab === name;
    $(`tab-${tab}`).setAttribute('aria-selected', String(chosen));
    $(`tab-${tab}`).tabIndex = chosen ? 0 : -1;
    $(`panel-${tab}`).hidden = !chosen;
  }
  history.replaceState(null, '', name === 'file' ? location.pathname : `#${name}`);
}

for (const tab of TABS) {
  $(`tab-${tab}`).addEventListener('click', () => show(tab));
  $(`tab-${tab}`).addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length];
    show(next);
    $(`tab-${next}`).focus();
  });
}

// -- the key ----------------------------------------------------------------------------------------

let waiting = null;

function keyNeeded(error) {
  $('key-error').textContent = key.get() ? 'The server does not know this key.' : '';
  key.set('');
  $('key-form').hidden = false;
  $('key').focus();
  waiting ??= Promise.withResolvers?.() ?? deferred();
  return waiting.promise;
}

function deferred() {
  const made = {};
  made.promise = new Promise((resolve) => { made.resolve = resolve; });
  return made;
}

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  key.set($('key').value.trim());
  $('key').value = '';
  $('key-form').hidden = true;
  waiting?.resolve();
  waiting = null;
});

// -- is the server there? ---------------------------------------------------------------------------

let asking = 0;

function gone() {
  $('offline').hidden = false;
  asking ||= setInterval(async () => {
    try {
      if ((await fetch('/readyz', { cache: 'no-store' })).ok) reached();
    } catch { /* still gone */ }
  }, 2000);
}

function reached() {
  if (!asking) return;
  clearInterval(asking);
  asking = 0;
  $('offline').hidden = true;
  if (!ready) start();
}

// -- start ------------------------------------------------------------------------------------------

const file = new FilePanel();
const live = new LivePanel();
let ready = false;

async function start() {
  try {
    const about = await askJson('/about');
    const methods = await askJson('/methods');
    $('version').textContent = `unmuffle ${about.version}`;
    file.know(about.limits, methods);
    live.know(methods);
    ready = true;
    document.documentElement.dataset.ready = 'true';
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (error.kind !== 'Offline') file.fail(error, start);
  }
}

onServer({ keyNeeded, gone, reached });
show(location.hash === '#live' ? 'live' : 'file');
start();
globalThis.unmuffle = { file, live }; // for the console, and for the tests
