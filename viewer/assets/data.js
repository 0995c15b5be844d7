// The page of a data set. All rows are here, as columns: lines of text, and numbers. So a search is one pass over one long
// string, and only the rows of one page become elements. The part of the address behind # holds the state of the page.
(() => {
  const perPage = 500;
  const $ = id => document.getElementById(id);
  const {el, count, number} = relsim;

  // ---- The rows ----

  let core, rest = null;            // blocks: what is needed at once, and ids, addresses, places, which come later
  let n = 0;                        // rows
  let text, textAt;                 // captions as lines, and where each line begins (n+1 numbers)
  let folded, foldedAt;             // the same as they are searched
  let lines;                        // these, to be searched
  let ids, urls, places, literals;  // lines of the block "more"
  const facets = [];                // {name, title, values, codes, starts}; that of states last
  const facetByName = new Map();
  let groupFacet = null, groupSize = null;

  // States of pictures, as the server numbers them; the names are those of links.
  const stateNames = ['unchecked', 'ok', 'missing', 'broken', 'present'];
  const stateTitles = ['not checked yet', 'picture ok', 'picture missing', 'picture broken', 'file there, not decoded'];
  const missing = 2, broken = 3;
  let state;                        // of each row
  const reasons = new Map();        // row → why its picture is broken
  let checked = 0, checking = true;

  // lineStarts returns where the lines of s begin, and its length at the end.
  function lineStarts(s, lines) {
    const at = new Uint32Array(lines + 1);
    for (let i = 0, from = 0; i < lines; i++) {
      at[i] = from;
      from = s.indexOf('\n', from) + 1;
    }
    at[lines] = s.length;
    return at;
  }

  // column gives the lines of a text by row.
  function column(s) {
    const at = lineStarts(s, n);
    return row => s.slice(at[row], at[row + 1] - 1);
  }

  // fold is what is compared: small letters, without accents. Lines stay lines.
  const plain = s => /^[\x00-\x7f]*$/.test(s);
  const fold = s => {
    s = s.toLowerCase();
    return plain(s) ? s : s.normalize('NFKD').replace(/[\u0300-\u036f]/g, '');
  };

  const captionsOf = row => text.slice(textAt[row], textAt[row + 1] - 1);
  const captionOf = row => captionsOf(row).split('\x1f')[0];
  const foldedOf = row => folded.slice(foldedAt[row], foldedAt[row + 1] - 1);

  function takeCore(block) {
    core = block;
    n = core.rows;
    text = core.text;
    textAt = lineStarts(text, n);
    folded = fold(text);
    foldedAt = plain(text) ? textAt : lineStarts(folded, n);
    lines = relsim.lines(folded, foldedAt);
    for (const f of core.facets) {
      const facet = {name: f.name, title: f.title, values: f.values, codes: Int32Array.from(f.codes), starts: f.starts ? Int32Array.from(f.starts) : null};
      facets.push(facet);
      facetByName.set(f.name, facet);
    }
    state = new Uint8Array(n);
    const states = {name: 'state', title: 'Picture', values: stateNames, codes: state, starts: null};
    facets.push(states);
    facetByName.set('state', states);
    groupFacet = facetByName.get('group') || null;
    if (groupFacet) {
      groupSize = new Uint32Array(groupFacet.values.length);
      for (const code of groupFacet.codes) groupSize[code]++;
    }
  }

  function takeMore(block) {
    rest = block;
    ids = column(block.ids);
    urls = column(block.urls);
    places = column(block.places);
    literals = block.literals ? column(block.literals) : () => '';
  }

  // label is the text of a facet's value.
  function label(facet, code) {
    const value = facet.values[code];
    if (facet.name === 'state') return stateTitles[code];
    if (value === '') return facet.name === 'placeholder' ? 'no placeholder' : 'none';
    if (facet.name === 'placeholder') return '{' + value + '}';
    return value;
  }

  const groupOf = row => groupFacet && groupFacet.values[groupFacet.codes[row]] !== '' ? groupFacet.codes[row] : null;
  const codesOf = (facet, row) => facet.starts ? facet.codes.subarray(facet.starts[row], facet.starts[row + 1]) : [facet.codes[row]];

  // ---- The search ----

  // parse splits a query into words that must be there, words that must not, and beginnings of ids.
  function parse(query) {
    const asked = {words: [], without: [], ids: []};
    for (const [, minus, phrase, word] of query.matchAll(/(-?)(?:"([^"]*)"?|([^\s"]+))/g)) {
      if (phrase === undefined && !minus && /^id:/i.test(word)) {
        if (word.length > 3) asked.ids.push(word.slice(3));
        continue;
      }
      const f = fold(phrase !== undefined ? phrase : word).trim();
      if (f === '' || (f === '-' && phrase === undefined)) continue;
      (minus ? asked.without : asked.words).push(f);
    }
    return asked;
  }

  // search returns the rows that have all that is asked, in order.
  function search(asked) {
    const found = lines.find(asked.words, asked.without);
    if (!asked.ids.length) return found;
    return found.filter(row => ids && asked.ids.every(id => ids(row).startsWith(id)));
  }

  // choose leaves the rows that the chosen values of all facets allow, and counts for every facet how many rows each of its
  // values would leave if the facet itself were not used.
  function choose(found, chosen) {
    const used = facets.filter(f => chosen.has(f.name));
    const wanted = used.map(f => {
      const w = new Uint8Array(f.values.length);
      for (const value of chosen.get(f.name)) {
        const code = f.values.indexOf(value);
        if (code >= 0) w[code] = 1;
      }
      return w;
    });
    const counts = facets.map(f => new Uint32Array(f.values.length));
    const left = new Uint32Array(found.length);
    let size = 0;
    // tally counts the values that rows have of a facet.
    const tally = (k, rows, size) => {
      const {codes, starts} = facets[k], c = counts[k];
      if (!starts) for (let i = 0; i < size; i++) c[codes[rows[i]]]++;
      else for (let i = 0; i < size; i++) for (let j = starts[rows[i]], end = starts[rows[i] + 1]; j < end; j++) c[codes[j]]++;
    };
    const except = used.map(() => []); // rows that one facet alone keeps out
    for (let i = 0; i < found.length; i++) {
      const row = found[i];
      let fails = 0, failed = -1;
      for (let u = 0; u < used.length && fails < 2; u++) {
        const f = used[u];
        let ok = false;
        if (!f.starts) ok = wanted[u][f.codes[row]] === 1;
        else for (let k = f.starts[row]; k < f.starts[row + 1] && !ok; k++) ok = wanted[u][f.codes[k]] === 1;
        if (!ok) { fails++; failed = u; }
      }
      if (fails === 0) left[size++] = row;
      else if (fails === 1) except[failed].push(row);
    }
    facets.forEach((_, k) => tally(k, left, size));
    used.forEach((f, u) => tally(facets.indexOf(f), except[u], except[u].length));
    return {rows: left.subarray(0, size), counts};
  }

  // ---- The order ----

  const sorts = {
    row: {title: 'row'},
    caption: {title: 'caption', by: () => byText(foldedOf)},
    length: {title: 'length of caption', by: () => byNumber(row => textAt[row + 1] - textAt[row])},
    group: {title: 'size of group', by: () => byNumber(row => groupFacet.values[groupFacet.codes[row]] === '' ? 0 : groupSize[groupFacet.codes[row]], row => groupFacet.codes[row])},
    id: {title: 'id', by: () => byText(ids)},
  };
  const orders = new Map(); // name → all rows in that order; made when it is first asked for

  function allRows() {
    const rows = new Uint32Array(n);
    for (let row = 0; row < n; row++) rows[row] = row;
    return rows;
  }

  // byText sorts by a text. Its first six letters, as one number, decide most comparisons; a letter beyond Latin-1 ends
  // them, so that the texts themselves are compared.
  function byText(of) {
    const texts = new Array(n), heads = new Float64Array(n);
    for (let row = 0; row < n; row++) {
      const t = texts[row] = of(row);
      let head = 0, beyond = false;
      for (let i = 0; i < 6; i++) {
        const c = i < t.length ? t.charCodeAt(i) : 0;
        beyond = beyond || c >= 255;
        head = head * 256 + (beyond ? 255 : c);
      }
      heads[row] = head;
    }
    return allRows().sort((a, b) => heads[a] - heads[b] || (texts[a] < texts[b] ? -1 : texts[a] > texts[b] ? 1 : a - b));
  }
  function byNumber(...keys) {
    const values = keys.map(key => {
      const v = new Float64Array(n);
      for (let row = 0; row < n; row++) v[row] = key(row);
      return v;
    });
    return allRows().sort((a, b) => {
      for (const v of values) if (v[a] !== v[b]) return v[a] - v[b];
      return a - b;
    });
  }

  // arrange puts rows, which are in their own order, into the order of a sort.
  function arrange(rows, sort, down) {
    let result = rows;
    if (sort !== 'row' && (sort !== 'id' || ids)) { // ids come later than the first rows
      if (!orders.has(sort)) orders.set(sort, sorts[sort].by());
      const isIn = new Uint8Array(n);
      for (const row of rows) isIn[row] = 1;
      result = new Uint32Array(rows.length);
      let size = 0;
      for (const row of orders.get(sort)) if (isIn[row]) result[size++] = row;
    }
    return down ? result.slice().reverse() : result;
  }

  // ---- The state, in the address ----

  const fresh = () => ({q: '', chosen: new Map(), sort: 'row', down: false, page: 1, row: 0, groups: true});
  let view = fresh();

  function readAddress() {
    const v = fresh();
    const p = new URLSearchParams(location.hash.slice(1));
    for (const [key, value] of p) {
      if (key === 'q') v.q = value;
      else if (key === 'sort' && Object.hasOwn(sorts, value) && (value !== 'group' || groupFacet)) v.sort = value;
      else if (key === 'order') v.down = value === 'down';
      else if (key === 'page') v.page = Math.max(1, parseInt(value, 10) || 1);
      else if (key === 'row') v.row = Math.min(n, Math.max(0, parseInt(value, 10) || 0)); // from 1; 0: none
      else if (key === 'groups') v.groups = value !== 'off';
      else if (facetByName.has(key)) {
        if (!v.chosen.has(key)) v.chosen.set(key, []);
        v.chosen.get(key).push(value);
      }
    }
    return v;
  }

  function addressOf(v) {
    const p = new URLSearchParams();
    if (v.q) p.set('q', v.q);
    for (const [name, values] of v.chosen) for (const value of values) p.append(name, value);
    if (v.sort !== 'row') p.set('sort', v.sort);
    if (v.down) p.set('order', 'down');
    if (!v.groups) p.set('groups', 'off');
    if (v.page > 1) p.set('page', v.page);
    if (v.row) p.set('row', v.row);
    return '#' + p;
  }

  // go changes the state. Changes of one series, such as the letters of a search, are one entry of the browser's history.
  let series = '';
  function go(change, of = '') {
    view = {...view, ...change};
    const address = addressOf(view);
    if (of && of === series) history.replaceState(null, '', address);
    else if (address !== (location.hash || '#')) history.pushState(null, '', address);
    series = of;
    show();
  }
  const withRow = row => addressOf({...view, row: row + 1});

  // ---- Words of captions, and what is similar ----

  let index = null; // promise of {words: vocabulary, tokens, tokenAt, weight, total}

  // indexWords numbers the words of all captions, a few milliseconds at a time.
  function indexWords() {
    if (!index) index = (async () => {
      const vocabulary = new Map(), frequency = [];
      const tokenAt = new Uint32Array(n + 1);
      let tokens = new Uint32Array(16 * n + 16), size = 0, pause = performance.now();
      const last = []; // word → the last row that has it
      for (let row = 0; row < n; row++) {
        tokenAt[row] = size;
        for (const [word] of foldedOf(row).matchAll(/[\p{L}\p{N}]+/gu)) {
          let w = vocabulary.get(word);
          if (w === undefined) { w = frequency.length; vocabulary.set(word, w); frequency.push(0); last.push(-1); }
          if (last[w] === row) continue; // sets of words
          last[w] = row;
          frequency[w]++;
          if (size === tokens.length) { const larger = new Uint32Array(2 * size); larger.set(tokens); tokens = larger; }
          tokens[size++] = w;
        }
        if ((row & 255) === 0 && performance.now() - pause > 12) {
          await new Promise(done => setTimeout(done));
          pause = performance.now();
        }
      }
      tokenAt[n] = size;
      const weight = Float64Array.from(frequency, f => Math.log(1 + n / f));
      const total = new Float64Array(n);
      for (let row = 0; row < n; row++) for (let i = tokenAt[row]; i < tokenAt[row + 1]; i++) total[row] += weight[tokens[i]];
      return {tokens: tokens.subarray(0, size), tokenAt, weight, total};
    })();
    return index;
  }

  // similar returns the rows whose captions are most similar to that of row, best first: [{row, score}]. The score is the
  // weight of the words that both have, divided by that of the words that either has; a word weighs ln(1 + rows/rows that
  // have it). It is 1 for the same words. The pictures of a group share their caption, and are left out.
  async function similar(row, most) {
    const {tokens, tokenAt, weight, total} = await indexWords();
    const mine = new Uint8Array(weight.length);
    for (let i = tokenAt[row]; i < tokenAt[row + 1]; i++) mine[tokens[i]] = 1;
    const best = [], group = groupOf(row);
    for (let other = 0; other < n; other++) {
      if (other === row || (group !== null && groupFacet.codes[other] === group)) continue;
      let shared = 0;
      for (let i = tokenAt[other]; i < tokenAt[other + 1]; i++) if (mine[tokens[i]]) shared += weight[tokens[i]];
      if (shared === 0) continue;
      const score = shared / (total[row] + total[other] - shared);
      if (best.length < most || score > best[best.length - 1].score) {
        let k = best.length;
        while (k > 0 && best[k - 1].score < score) k--;
        best.splice(k, 0, {row: other, score});
        if (best.length > most) best.pop();
      }
    }
    return best;
  }

  // ---- Showing ----

  // highlighted makes nodes of a caption: what was searched is marked, and placeholders have their colour. Text that runs
  // from right to left stays inside its <bdi>.
  function highlighted(caption, words) {
    const kind = new Uint8Array(caption.length); // 1: found, 2: placeholder
    if (words.length) {
      let f = fold(caption), from = null; // from[i]: where the folded character i comes from
      if (!plain(caption)) {
        f = '';
        from = [];
        let at = 0;
        for (const c of caption) {
          const folded = fold(c);
          for (let i = 0; i < folded.length; i++) from.push(at);
          f += folded;
          at += c.length;
        }
        from.push(at);
      }
      for (const word of words) {
        for (let i = f.indexOf(word); i >= 0; i = f.indexOf(word, i + 1)) {
          const end = from ? from[i + word.length] : i + word.length;
          for (let k = from ? from[i] : i; k < end; k++) kind[k] |= 1;
        }
      }
    }
    for (const m of caption.matchAll(/\{[^{}]{1,64}\}/g)) for (let k = m.index; k < m.index + m[0].length; k++) kind[k] |= 2;
    const out = el('bdi', {dir: 'auto'});
    for (let i = 0, k; i < caption.length; i = k) {
      for (k = i + 1; k < caption.length && kind[k] === kind[i];) k++;
      const part = caption.slice(i, k);
      if (kind[i] === 0) out.append(part);
      else out.append(el(kind[i] & 1 ? 'mark' : 'span', {class: kind[i] & 2 ? 'ph' : null}, part));
    }
    return out;
  }

  // pictureOf makes the picture of a row, or what stands in its place.
  function pictureOf(row, side, eager) {
    const none = () => {
      const s = state[row];
      const words = s === missing ? 'picture missing' : s === broken ? 'picture broken' : 'no picture';
      return el('span', {class: 'nopic ' + (s === missing ? 'missing' : s === broken ? 'broken' : ''), role: 'img', 'aria-label': words}, words);
    };
    if (state[row] === missing || state[row] === broken) return none();
    const address = relsim.picture(row, side);
    if (!address) return none();
    const img = el('img', {alt: captionOf(row) || `Picture of row ${row + 1}`, loading: eager ? null : 'lazy', decoding: 'async'});
    img.addEventListener('error', () => {
      if (relsim.inFile) setState(row, missing); // a server says what it is, and watch hears of it
      img.replaceWith(none());
    });
    img.src = address;
    return img;
  }

  function sourceOf(row) {
    const link = relsim.source(urls(row));
    if (link) link.title = 'The source of the picture';
    return link;
  }

  // card shows a row.
  function card(row, words, heading) {
    const captions = captionsOf(row).split('\x1f');
    const facts = [el('span', {}, `row ${number.format(row + 1)}`)];
    for (const name of ['group', 'relation', 'split']) {
      const f = facetByName.get(name);
      if (f && f.values[f.codes[row]] !== '' && !(name === 'group' && heading !== null)) facts.push(el('bdi', {title: f.title}, name === 'group' ? 'group ' + f.values[f.codes[row]] : f.values[f.codes[row]]));
    }
    if (captions.length > 1) facts.push(el('span', {}, count(captions.length, 'caption')));
    if (urls) facts.push(sourceOf(row));
    const same = heading !== null && captions.length === 1 && captions[0] === heading;
    const node = el('article', {class: 'card', 'data-row': row},
      el('a', {class: 'pic', href: withRow(row), 'aria-label': `Row ${row + 1}: ${captions[0] || 'no caption'}`}, pictureOf(row, 256)),
      el('div', {class: 'text'},
        !same && el('p', {class: 'caption'}, captions[0] ? highlighted(captions[0], words) : el('span', {class: 'muted'}, 'no caption')),
        el('p', {class: 'meta'}, facts)));
    cards.set(row, node);
    return node;
  }

  const cards = new Map(); // row → its card, of those that are shown
  let shown = {found: null, query: null, rows: new Uint32Array(0), counts: []};
  let drawing = 0; // number of the drawing that is going on; an older one ends

  const pages = () => Math.max(1, Math.ceil(shown.rows.length / perPage));
  const grouped = () => groupFacet !== null && view.groups && view.sort !== 'id';

  // show brings the page to its state.
  let lastList = '', lastRow = 0;
  function show() {
    if ($('q').value !== view.q) $('q').value = view.q;
    $('sort').value = view.sort;
    $('order').textContent = view.down ? '↓' : '↑';
    $('order').setAttribute('aria-pressed', String(view.down));
    $('order').setAttribute('aria-label', view.down ? 'Order: down' : 'Order: up');
    $('groups').checked = view.groups;
    const list = addressOf({...view, row: 0});
    if (list !== lastList) {
      lastList = list;
      find();
      draw();
    }
    if (view.row !== lastRow) {
      const from = lastRow;
      lastRow = view.row;
      showDetail(from);
    }
  }

  // find computes the rows to show.
  function find() {
    const asked = parse(view.q);
    if (shown.query !== view.q || (asked.ids.length && !shown.withIDs)) {
      shown.found = search(asked);
      shown.query = view.q;
      shown.withIDs = Boolean(ids);
    }
    const {rows, counts} = choose(shown.found, view.chosen);
    shown.counts = counts;
    shown.rows = arrange(rows, view.sort, view.down);
    shown.words = asked.words;
  }

  // later calls f when the browser has nothing better to do.
  const later = window.requestIdleCallback ? f => requestIdleCallback(f, {timeout: 400}) : f => setTimeout(f, 50);

  // draw shows one page of the rows: what is seen first at once, the others a few at a time, while nothing else happens.
  function draw() {
    const mine = ++drawing;
    const page = Math.min(view.page, pages());
    const first = (page - 1) * perPage, last = Math.min(first + perPage, shown.rows.length);
    const results = $('results');
    results.replaceChildren();
    cards.clear();
    drawStatus(first, last);
    drawPages(page);
    drawChips();
    drawFacets();
    if (first === last) {
      results.append(el('p', {class: 'empty'}, 'No row has all of this. ', el('a', {href: '#'}, 'Show all rows')));
      return;
    }
    let grid = null, group = null, heading = null;
    const codes = groupFacet && groupFacet.codes;
    const add = at => {
      const row = shown.rows[at];
      const its = grouped() ? groupOf(row) : null;
      if (!grid || its !== group) {
        group = its;
        heading = null;
        grid = el('div', {class: 'grid'});
        if (group === null) {
          results.append(grid);
        } else {
          let size = 1;
          for (let k = at + 1; k < shown.rows.length && codes[shown.rows[k]] === group; k++) size++;
          for (let k = at - 1; k >= 0 && codes[shown.rows[k]] === group; k--) size++;
          heading = captionOf(row);
          const whole = groupSize[group];
          const name = groupFacet.values[group];
          results.append(el('section', {class: 'group', 'data-group': name, 'aria-label': `Group ${name}`},
            el('h2', {}, `Group ${name} · `, size === whole ? count(whole, 'picture') : `${size} of ${count(whole, 'picture')}`),
            heading && el('p', {class: 'caption'}, highlighted(heading, shown.words)), grid));
        }
      }
      grid.append(card(row, shown.words, heading));
    };
    let at = first;
    while (at < last && at < first + 12) add(at++); // about a window of them
    const rest = () => {
      if (mine !== drawing) return; // another one has begun
      for (const end = performance.now() + 8; at < last && performance.now() < end;) add(at++);
      if (at < last) later(rest);
    };
    if (at < last) later(rest);
  }

  function drawStatus(first, last) {
    const size = shown.rows.length;
    $('status').textContent = (size === n ? count(n, 'row') : `${number.format(size)} of ${count(n, 'row')}`) +
      (size > perPage ? `, ${number.format(first + 1)} to ${number.format(last)}` : '');
  }

  function drawPages(page) {
    const all = pages();
    for (const nav of [$('pages-top'), $('pages-bottom')]) {
      nav.hidden = all === 1;
      if (all === 1) { nav.replaceChildren(); continue; }
      const field = el('input', {type: 'number', min: 1, max: all, value: page, 'aria-label': `Page, 1 to ${all}`, inputmode: 'numeric'});
      field.addEventListener('change', () => turn(Math.min(all, Math.max(1, parseInt(field.value, 10) || 1))));
      nav.replaceChildren(
        el('button', {type: 'button', class: 'previous', disabled: page === 1, onclick: () => turn(page - 1), 'aria-label': 'Page before'}, '‹'),
        field, `of ${number.format(all)}`,
        el('button', {type: 'button', class: 'next', disabled: page === all, onclick: () => turn(page + 1), 'aria-label': 'Next page'}, '›'));
    }
  }

  function turn(page) {
    if (page < 1 || page > pages()) return;
    go({page});
    window.scrollTo(0, 0);
    $('results').focus({preventScroll: true});
  }

  // toggle chooses a facet's value, or no longer.
  function toggle(name, value) {
    const chosen = new Map(view.chosen);
    const values = chosen.get(name) || [];
    const next = values.includes(value) ? values.filter(v => v !== value) : [...values, value];
    if (next.length) chosen.set(name, next); else chosen.delete(name);
    go({chosen, page: 1});
  }

  function drawChips() {
    const chips = [];
    for (const [name, values] of view.chosen) {
      const f = facetByName.get(name);
      for (const value of values) {
        const code = f.values.indexOf(value);
        chips.push(el('li', {}, el('button', {type: 'button', 'aria-label': `Remove: ${f.title} ${value}`, onclick: () => toggle(name, value)},
          `${f.title}: `, el('bdi', {}, code < 0 ? value + ' (none)' : label(f, code)), ' ×')));
      }
    }
    if (chips.length > 1) chips.push(el('li', {}, el('button', {type: 'button', onclick: () => go({chosen: new Map(), page: 1})}, 'Clear filters')));
    $('chips').replaceChildren(...chips);
    $('filters-count').textContent = view.chosen.size ? `(${[...view.chosen.values()].flat().length})` : '';
  }

  const few = 8, many = 300; // values that a facet shows at first, and at most
  const panels = new Map();  // facet → its elements

  function panelOf(facet) {
    if (panels.has(facet)) return panels.get(facet);
    const panel = {list: el('ul', {}), items: new Map(), all: false, filter: null, more: null};
    panel.more = el('button', {type: 'button', onclick: () => { panel.all = !panel.all; drawFacet(facet); }});
    if (facet.values.length > 12) {
      panel.filter = el('input', {type: 'search', placeholder: 'Find …', 'aria-label': `Find a value of ${facet.title}`, autocomplete: 'off', oninput: () => drawFacet(facet)});
    }
    panel.node = el('fieldset', {class: 'facet', 'data-facet': facet.name}, el('legend', {}, facet.title), panel.filter, panel.list, panel.more);
    panels.set(facet, panel);
    return panel;
  }

  function drawFacet(facet) {
    const panel = panelOf(facet), counts = shown.counts[facets.indexOf(facet)], chosen = view.chosen.get(facet.name) || [];
    const wanted = panel.filter ? fold(panel.filter.value.trim()) : '';
    const values = [];
    let left = 0;
    for (let code = 0; code < facet.values.length; code++) {
      const isChosen = chosen.includes(facet.values[code]);
      if (!isChosen && (counts[code] === 0 || (wanted && !fold(label(facet, code)).includes(wanted)))) continue;
      if (!isChosen && values.length >= (panel.all || wanted ? many : few)) { left++; continue; }
      values.push(code);
    }
    const items = values.map(code => {
      let item = panel.items.get(code);
      if (!item) {
        const box = el('input', {type: 'checkbox', value: facet.values[code], onchange: () => toggle(facet.name, facet.values[code])});
        const n = el('span', {class: 'n'});
        item = {box, n, node: el('li', {}, el('label', {}, box, el('span', {}, el('bdi', {}, label(facet, code))), n))};
        panel.items.set(code, item);
      }
      item.box.checked = chosen.includes(facet.values[code]);
      item.n.textContent = number.format(counts[code]);
      return item.node;
    });
    if (items.length !== panel.list.childElementCount || items.some((item, i) => item !== panel.list.children[i])) {
      const focused = panel.list.contains(document.activeElement) ? document.activeElement : null;
      panel.list.replaceChildren(...items);
      if (focused && panel.list.contains(focused)) focused.focus({preventScroll: true});
    }
    panel.more.hidden = left === 0 && !panel.all;
    panel.more.textContent = panel.all ? 'Fewer' + (left ? ` (${count(left, 'more value')})` : '') : `All (${number.format(values.length + left)})`;
    panel.node.hidden = values.length === 0;
  }

  function drawFacets() {
    if (!$('filters').open) return;
    for (const facet of facets) drawFacet(facet);
    if ($('facets').childElementCount === 0) $('facets').append(...facets.map(f => panelOf(f).node));
  }

  // ---- One row ----

  async function showDetail(from) {
    const dialog = $('detail');
    if (!view.row) {
      if (dialog.open) dialog.close();
      const card = from && cards.get(from - 1);
      if (card) card.querySelector('.pic').focus();
      return;
    }
    const row = view.row - 1;
    const at = shown.rows.indexOf(row);
    const step = by => at >= 0 && at + by >= 0 && at + by < shown.rows.length ? shown.rows[at + by] : -1;
    const to = (other, title, sign) => el('button', {type: 'button', 'aria-label': title, disabled: other < 0, onclick: () => go({row: other + 1}, 'stepping')}, sign);
    const captions = captionsOf(row).split('\x1f').filter(c => c !== '');
    const fields = el('dl', {class: 'fields'});
    const field = (name, ...value) => fields.append(el('dt', {}, name), el('dd', {}, value));
    const filter = (name, value, shownAs) => el('a', {href: addressOf({...fresh(), chosen: new Map([[name, [value]]])})}, el('bdi', {}, shownAs));
    if (rest) {
      field('Id', el('bdi', {}, ids(row)), ' ', el('a', {href: addressOf({...fresh(), q: 'id:' + ids(row)})}, 'rows with it'));
      if (places(row)) field('From', el('bdi', {}, places(row)));
      const link = relsim.source(urls(row), el('bdi', {}, urls(row)));
      if (urls(row)) field('Source', link || el('bdi', {}, urls(row)));
    }
    for (const f of facets) {
      const values = [...codesOf(f, row)].filter(code => f.values[code] !== '');
      if (values.length) field(f.title, values.map((code, k) => [k > 0 && ', ', filter(f.name, f.values[code], label(f, code))]).flat());
    }
    if (reasons.has(row)) field('Why broken', el('bdi', {}, reasons.get(row)));
    if (rest && rest.reasons && rest.reasons[row]) field('Download', el('bdi', {}, rest.reasons[row]));
    const list = el('div', {id: 'similar'}, el('p', {class: 'muted'}, 'Comparing captions …'));
    dialog.replaceChildren(
      el('div', {class: 'head'}, el('h2', {id: 'detail-title'}, `Row ${number.format(row + 1)}`),
        to(step(-1), 'Row before', '‹'), to(step(1), 'Next row', '›'),
        el('button', {type: 'button', class: 'close', 'aria-label': 'Close', onclick: () => go({row: 0})}, '×')),
      el('div', {class: 'big'}, pictureOf(row, 1280, true)),
      el('div', {class: 'body'},
        captions.length ? captions.map(c => el('p', {class: 'caption'}, highlighted(c, shown.words || []))) : el('p', {class: 'caption muted'}, 'no caption'),
        rest && literals(row) && el('p', {class: 'literal'}, 'Literal: ', el('bdi', {dir: 'auto'}, literals(row))),
        fields, el('h3', {}, 'Similar captions'), list));
    dialog.dataset.row = String(row);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    const best = captions.length ? await similar(row, 12) : [];
    if (view.row !== row + 1) return; // another row is shown by now
    if (best.length === 0) {
      list.replaceChildren(el('p', {class: 'muted'}, captions.length ? 'No other caption has one of its words.' : 'It has no caption.'));
      return;
    }
    list.replaceChildren(
      el('p', {class: 'muted'}, 'By the words that both captions have, as a share of the words that either has; rare words weigh more. 1 is the same words.' + (groupOf(row) === null ? '' : ' Its own group is left out.')),
      el('ul', {class: 'similar'}, best.map(({row: other, score}) => el('li', {},
        el('a', {href: withRow(other), 'data-row': other}, thumb(other),
          el('span', {}, el('span', {class: 'score'}, `${score.toFixed(2)} · row ${number.format(other + 1)}`), el('br'), el('bdi', {dir: 'auto'}, captionOf(other))))))));
  }

  function thumb(row) {
    const p = pictureOf(row, 96);
    if (p.tagName === 'IMG') { p.alt = ''; return p; } // the caption stands beside it
    return el('span', {class: 'none'}, p);
  }

  // ---- States of pictures ----

  function setState(row, s) {
    if (state[row] === s) return false;
    state[row] = s;
    if (s === missing || s === broken) {
      const card = cards.get(row);
      if (card) card.querySelector('.pic').replaceChildren(pictureOf(row, 256));
    }
    return true;
  }

  // repair puts what is known by now into the row that is shown by itself.
  function repair() {
    if (!view.row) return;
    const lost = row => state[row] === missing || state[row] === broken;
    if (lost(view.row - 1)) $('detail').querySelector('.big')?.replaceChildren(pictureOf(view.row - 1, 1280, true));
    for (const link of document.querySelectorAll('#similar a[data-row]')) {
      if (lost(+link.dataset.row)) link.firstElementChild.replaceWith(thumb(+link.dataset.row));
    }
  }

  function takeStates(c) {
    let changed = false;
    for (const [row, why] of Object.entries(c.reasons || {})) reasons.set(Number(row), why);
    c.rows.forEach((row, i) => { changed = setState(row, c.states[i]) || changed; });
    checked = c.checked;
    checking = !c.done;
    drawStates();
    if (!changed) return;
    repair();
    if (view.chosen.has('state')) { // rows come and go
      const before = shown.rows.join();
      find();
      if (shown.rows.join() !== before) draw(); else drawFacets();
    } else {
      shown.counts = choose(shown.found, view.chosen).counts;
      drawFacets();
    }
  }

  function drawStates() {
    const of = new Uint32Array(stateNames.length);
    for (const s of state) of[s]++;
    const parts = [count(n, 'row')];
    for (const s of [missing, broken]) {
      if (of[s]) parts.push(el('a', {href: addressOf({...fresh(), chosen: new Map([['state', [stateNames[s]]]])})}, `${number.format(of[s])} ${stateTitles[s].replace('picture ', '')}`));
    }
    if (checking) parts.push(`${number.format(checked)} pictures checked …`);
    else if (of[0] === 0 && of[4] === 0 && !of[missing] && !of[broken]) parts.push('all pictures ok');
    $('results').classList.toggle('bare', of[missing] === n); // a list of addresses: boxes for pictures would be in the way
    $('states').replaceChildren(...parts.flatMap((p, i) => i ? [' · ', p] : [p]));
  }

  // watch asks the server what it has found out about pictures, until it knows all.
  async function watch() {
    for (let version = 0; ;) {
      if (!document.hidden || version === 0) {
        const answer = await fetch('states?since=' + version).catch(() => null);
        if (!answer || !answer.ok) {
          checking = false; // the server has ended: what is known stays
          drawStates();
          return;
        }
        const c = await answer.json();
        version = c.version;
        takeStates(c);
        if (c.done) return;
        if (c.rows.length > 100000) continue;
      }
      await new Promise(done => setTimeout(done, 1000));
    }
  }

  // ---- Keys ----

  // move puts the focus on the picture that is by places away.
  function move(by) {
    const links = [...document.querySelectorAll('#results .pic')];
    const at = links.indexOf(document.activeElement);
    const next = links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by))];
    if (!next) return;
    next.focus({preventScroll: true});
    next.scrollIntoView({block: 'nearest'});
  }

  // moveLine puts the focus on the nearest picture in the line below (1) or above (-1).
  function moveLine(direction) {
    const links = [...document.querySelectorAll('#results .pic')];
    const at = links.indexOf(document.activeElement);
    if (at < 0) return move(1);
    const here = links[at].getBoundingClientRect();
    let best = null, bestTop = 0, bestSide = Infinity;
    for (let k = at + direction; k >= 0 && k < links.length; k += direction) {
      const r = links[k].getBoundingClientRect();
      if (Math.abs(r.top - here.top) < 4) continue;
      if (best && Math.abs(r.top - bestTop) > 4) break; // a line further
      bestTop = r.top;
      if (Math.abs(r.left - here.left) < bestSide) { best = links[k]; bestSide = Math.abs(r.left - here.left); }
    }
    if (!best) return;
    best.focus({preventScroll: true});
    best.scrollIntoView({block: 'nearest'});
  }

  function pressed(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
    const field = e.target.closest('input:not([type=checkbox]), select, textarea');
    if (e.key === 'Escape') {
      if (document.querySelector('dialog[open]')) return; // it closes by itself
      if (field && field !== $('q')) return;
      if (view.q) go({q: '', page: 1}); else $('q').blur();
      e.preventDefault();
      return;
    }
    if (field) {
      if (field === $('q') && (e.key === 'ArrowDown' || e.key === 'Enter')) { e.preventDefault(); move(0); }
      return;
    }
    const inDetail = $('detail').open;
    if ($('help').open) return;
    const step = by => { const b = $('detail').querySelectorAll('.head button')[by < 0 ? 0 : 1]; if (!b.disabled) b.click(); };
    const keys = inDetail
      ? {j: () => step(1), k: () => step(-1), ArrowRight: () => step(1), ArrowLeft: () => step(-1)}
      : {
        '/': () => { $('q').focus(); $('q').select(); },
        j: () => move(1), k: () => move(-1), ArrowRight: () => move(1), ArrowLeft: () => move(-1),
        ArrowDown: () => moveLine(1), ArrowUp: () => moveLine(-1),
        n: () => turn(Math.min(view.page, pages()) + 1), p: () => turn(Math.min(view.page, pages()) - 1),
      };
    keys['?'] = () => $('help').showModal();
    if (!Object.hasOwn(keys, e.key)) return;
    e.preventDefault();
    keys[e.key]();
  }

  // ---- The beginning ----

  async function start() {
    $('filters').open = matchMedia('(min-width:52rem)').matches;
    takeCore(await relsim.data('core'));
    await relsim.ready();
    for (const [name, s] of Object.entries(sorts)) {
      if (name !== 'group' || groupFacet) $('sort').append(el('option', {value: name}, s.title));
    }
    $('groups-label').hidden = groupFacet === null;
    view = readAddress();
    const needsIDs = () => view.sort === 'id' || /\bid:/i.test(view.q);
    if (needsIDs()) takeMore(await relsim.data('more'));
    $('search').addEventListener('submit', e => e.preventDefault());
    $('q').addEventListener('input', () => go({q: $('q').value, page: 1, row: 0}, 'typing'));
    $('q').addEventListener('blur', () => { series = ''; });
    $('sort').addEventListener('change', () => go({sort: $('sort').value, page: 1}));
    $('order').addEventListener('click', () => go({down: !view.down, page: 1}));
    $('groups').addEventListener('change', () => go({groups: $('groups').checked}));
    $('filters').addEventListener('toggle', drawFacets);
    $('help-open').addEventListener('click', () => $('help').showModal());
    $('detail').addEventListener('cancel', e => { e.preventDefault(); go({row: 0}); });
    $('detail').addEventListener('close', () => { if (view.row) go({row: 0}); }); // the browser may close it on its own
    $('detail').addEventListener('click', e => { if (e.target === $('detail')) go({row: 0}); }); // beside it
    document.addEventListener('keydown', pressed);
    // Links to states of this page change the state as the address does, and so do the browser's buttons.
    addEventListener('popstate', () => { series = ''; view = readAddress(); show(); });
    document.addEventListener('click', e => {
      const link = e.target.closest('a[href^="#"]');
      if (link && link.hash === '' && !e.ctrlKey && !e.metaKey && !e.shiftKey && e.button === 0) { // "#": all rows
        e.preventDefault();
        go(fresh());
      }
    });

    drawStates();
    show();
    if (!relsim.inFile) watch().catch(relsim.fail);
    if (!rest) {
      takeMore(await relsim.data('more'));
      if (needsIDs()) {
        find();
        draw();
      } else {
        for (const [row, node] of cards) {
          const link = sourceOf(row);
          if (link) node.querySelector('.meta').append(link);
        }
      }
      if (view.row) showDetail(0);
    }
    if (relsim.inFile) takeStates(await relsim.data('states'));
  }
  start().catch(relsim.fail);
})();
