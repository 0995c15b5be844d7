'use strict';
// What the scripts of all pages share: blocks of data, pictures, elements. Text becomes text nodes only, never markup.
const relsim = (() => {
  const root = document.documentElement;
  const inFile = 'file' in root.dataset;
  const blocks = new Map(); // name → promise

  // load fetches a block, or unpacks it out of the file.
  async function load(name) {
    if (!inFile) {
      const answer = await fetch('blocks/' + name);
      if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
      return answer.json();
    }
    const node = document.getElementById('block-' + name);
    if (!node) throw new Error(`this file has no block ${name}`);
    const text = atob(node.textContent);
    node.remove(); // it is not needed twice
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).json();
  }

  // data returns a promise of the block's value. It is loaded once.
  function data(name) {
    if (!blocks.has(name)) blocks.set(name, load(name));
    return blocks.get(name);
  }

  // has says whether the page has the block. A server is asked by data alone.
  const has = name => !inFile || blocks.has(name) || document.getElementById('block-' + name) !== null;

  let places = null; // in a file: where pictures are, by row
  // ready returns a promise that picture waits for.
  const ready = async () => { if (inFile && has('pictures')) places = await data('pictures'); };

  // picture returns the address of row's picture, no side longer than side pixels; '' where there is none.
  function picture(row, side) {
    if (inFile) return (places && places[row]) || '';
    return `picture/${row}?side=${side}&v=${encodeURIComponent(root.dataset.version)}`;
  }

  // el makes an element: attributes are set as such, but for those that begin with "on", which are listeners; children
  // are nodes or text. What is null, undefined or false is left out.
  function el(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? '' : value);
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined && child !== false) node.append(child);
    }
    return node;
  }

  // source makes a link to an address of the web, '' or null for any other: javascript: and its like stay text.
  function source(address, ...text) {
    let url;
    try { url = new URL(address); } catch { return null; }
    if (url.protocol !== 'https:' && url.protocol !== 'http:') return null;
    return el('a', {href: url.href, rel: 'noopener noreferrer', target: '_blank', referrerpolicy: 'no-referrer'}, text.length ? text : url.hostname);
  }

  const number = new Intl.NumberFormat('en');
  // count writes "1 row", "2,000 rows".
  const count = (n, one, many) => `${number.format(n)} ${n === 1 ? one : many || one + 's'}`;

  // The button with the id "theme" changes between light and dark; the choice is kept where the browser allows it.
  function theme() {
    const button = document.getElementById('theme');
    const prefers = matchMedia('(prefers-color-scheme:dark)');
    const now = () => root.dataset.theme || (prefers.matches ? 'dark' : 'light');
    try { root.dataset.theme = localStorage.getItem('relsim-theme') || ''; } catch { /* a file may have no storage */ }
    if (!root.dataset.theme) delete root.dataset.theme;
    if (!button) return;
    const name = () => { button.textContent = now() === 'dark' ? 'Light' : 'Dark'; };
    button.addEventListener('click', () => {
      root.dataset.theme = now() === 'dark' ? 'light' : 'dark';
      try { localStorage.setItem('relsim-theme', root.dataset.theme); } catch { /* then it lasts as long as the page */ }
      name();
    });
    prefers.addEventListener('change', name);
    name();
  }
  theme();

  // fail shows on the page what went wrong.
  function fail(error) {
    const main = document.querySelector('main') || document.body;
    main.prepend(el('p', {class: 'notice', role: 'alert'}, 'This page does not work: ' + (error.message || error)));
    throw error;
  }

  return {data, has, ready, picture, el, source, count, number, fail, inFile};
})();
