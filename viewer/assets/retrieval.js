// The page of rankings. What is chosen stands in the address, after the #.
(async () => {
  const {el, data, picture, source, count, number} = relsim;
  const $ = id => document.getElementById(id);
  const [head, items, queries] = await Promise.all([data('head'), data('items'), data('queries'), relsim.ready()]);
  const total = queries.item.length;
  const names = head.methods.map(m => m.name);
  const heldOut = new Set(items.heldOut || []);
  // Columns of queries, which every key of a search goes through.
  function column(of, kind = Int32Array) {
    const values = new kind(total);
    for (let q = 0; q < total; q++) values[q] = of(q);
    return values;
  }
  const itemOf = column(q => queries.item[q]);
  const captionOf = column(q => items.caption[itemOf[q]]);
  const relationOf = column(q => items.relation[itemOf[q]]);
  const isHeldOut = column(q => heldOut.has(itemOf[q]) ? 1 : 0, Uint8Array);
  const isJudged = column(q => queries.judged[q] === '1' ? 1 : 0, Uint8Array);
  const zero = '0'.charCodeAt(0);
  const ranks = name => queries[name].map(list => column(q => list.charCodeAt(q) - zero, Uint8Array)); // by method; 0: not among the first
  const right = ranks('right'), twin = ranks('twin');
  const caption = i => items.texts[items.caption[i]];
  const relation = i => items.texts[items.relation[i]];
  const judged = queries.judged.includes('1');
  const marks = {r: ['✓', 'right'], w: ['✗', 'wrong'], t: ['≈', 'twin'], u: ['·', 'not judged']};
  const meaning = {
    r: head.positives === 'relation' ? 'of the query’s relation' : 'with the query’s caption',
    w: 'neither', t: 'the query’s colours and shapes in another relation', u: 'the query has no picture that could be right',
  };
  const does = {right: 'is right', wrong: 'is wrong', twin: 'finds a twin'};

  // State: what the address says.
  const defaults = () => ({query: '', methods: names.map((_, i) => i), search: '', relation: '', part: '', a: -1, ax: 'right', b: -1, bx: 'wrong', k: 1});
  let state = defaults();
  let shown = new Int32Array(0); // queries that fit
  let at = -1; // place in shown

  function parse() {
    const p = new URLSearchParams(location.hash.slice(1));
    const s = defaults();
    s.query = p.get('q') || '';
    if (p.has('m')) {
      const chosen = new Set(p.getAll('m'));
      s.methods = names.map((_, i) => i).filter(i => chosen.has(names[i]));
    }
    s.search = p.get('s') || '';
    s.relation = p.get('r') || '';
    if (['seen', 'held'].includes(p.get('p'))) s.part = p.get('p');
    for (const c of ['a', 'b']) {
      s[c] = names.indexOf(p.get(c));
      if (Object.hasOwn(does, p.get(c + 'x'))) s[c + 'x'] = p.get(c + 'x');
    }
    s.k = Math.min(Math.max(Number.parseInt(p.get('k'), 10) || 1, 1), head.top);
    return s;
  }

  function address() {
    const p = new URLSearchParams();
    if (at >= 0) p.set('q', items.id[itemOf[shown[at]]]);
    if (state.methods.length < names.length) {
      for (const i of state.methods) p.append('m', names[i]);
      if (!state.methods.length) p.append('m', '');
    }
    if (state.search) p.set('s', state.search);
    if (state.relation) p.set('r', state.relation);
    if (state.part) p.set('p', state.part);
    for (const c of ['a', 'b']) {
      if (state[c] >= 0) { p.set(c, names[state[c]]); p.set(c + 'x', state[c + 'x']); }
    }
    if (state.k !== 1) p.set('k', state.k);
    return '#' + p;
  }

  // remember puts the state into the address; step: as a page of its own, that "back" returns from.
  function remember(step) {
    const a = address();
    if (a === location.hash || (a === '#' && !location.hash)) return;
    if (step) history.pushState(null, '', a); else history.replaceState(null, '', a);
  }

  // What fits.
  const within = (rank, k) => rank > 0 && rank <= k;
  const tests = {
    right: (m, k) => q => within(right[m][q], k),
    wrong: (m, k) => q => isJudged[q] === 1 && !within(right[m][q], k),
    twin: (m, k) => q => within(twin[m][q], k),
  };

  // The texts as they are searched, in small letters. They are made while nothing else happens, or when a search comes first.
  const parts = [], startOf = new Uint32Array(items.texts.length + 1);
  let folded = 0, length = 0; // texts, and their letters
  let lines = null;
  function foldSome() {
    const some = items.texts.slice(folded, folded + 1024).map(t => t.toLowerCase());
    for (const t of some) startOf[++folded] = length += t.length + 1;
    parts.push(some.join('\n'));
    if (folded < items.texts.length) return;
    lines = relsim.lines(parts.join('\n') + '\n', startOf);
    parts.length = 0;
  }
  function foldIdle(deadline) {
    for (let i = 0; !lines && (i === 0 || deadline.timeRemaining() > 3); i++) foldSome();
    if (!lines) later(foldIdle);
  }
  const later = window.requestIdleCallback || (f => setTimeout(f, 0, {timeRemaining: () => 0}));

  function fitting() {
    const fit = new Int32Array(total);
    let n = total;
    for (let q = 0; q < total; q++) fit[q] = q;
    const keep = fits => {
      let k = 0;
      for (let at = 0; at < n; at++) if (fits(fit[at])) fit[k++] = fit[at];
      n = k;
    };
    const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) {
      while (!lines) foldSome();
      const hit = new Uint8Array(items.texts.length);
      for (const text of lines.find(words, [])) hit[text] = 1;
      const named = items.id.indexOf(state.search.trim());
      keep(q => hit[captionOf[q]] === 1 || hit[relationOf[q]] === 1 || itemOf[q] === named);
    }
    if (state.relation) {
      const wanted = items.texts.indexOf(state.relation);
      keep(q => relationOf[q] === wanted);
    }
    if (state.part) {
      const wanted = state.part === 'held' ? 1 : 0;
      keep(q => isHeldOut[q] === wanted);
    }
    for (const c of ['a', 'b']) if (state[c] >= 0) keep(tests[state[c + 'x']](state[c], state.k));
    return fit.subarray(0, n);
  }

  // Rankings of queries, a chunk at a time; the last ones are kept.
  const chunks = new Map();
  function rows(q) {
    const n = Math.floor(q / head.chunk);
    if (!chunks.has(n)) {
      const loading = relsim.inFile ? data('rows-' + n) : fetch('rows/' + n).then(a => {
        if (!a.ok) throw new Error(`rankings: ${a.status} ${a.statusText}`);
        return a.json();
      });
      chunks.set(n, loading);
      loading.catch(() => chunks.delete(n));
      if (!relsim.inFile && chunks.size > 40) chunks.delete(chunks.keys().next().value);
    }
    return chunks.get(n).then(c => c[q % head.chunk]);
  }

  // A picture stands in a frame. It is asked for once the frame has been painted, a few at a time, from the top, and in a
  // pause of whoever types: keys do not wait for pictures, and those of a query that is no longer shown are not asked for.
  const altOf = i => caption(i) || relation(i) || 'picture ' + items.id[i];
  const atOnce = 6; // as many as browsers ask one server for
  let waiting = []; // [frame, item, side]
  const coming = new Set(); // images
  const pause = 120; // ms since the last key of a search
  let typed = -Infinity, timer = 0;
  const frame = () => el('span', {class: 'frame'});
  function image(i, side) {
    waiting.push([frame(), i, side]);
    return waiting.at(-1)[0];
  }
  function askForPictures() {
    clearTimeout(timer);
    const rest = typed + pause - performance.now();
    if (rest > 0) timer = setTimeout(askForPictures, rest);
    else while (coming.size < atOnce && waiting.length) hang(...waiting.shift());
  }
  // forget asks for no more pictures, and waits for none.
  function forget() {
    waiting = [];
    coming.clear();
  }
  // hang puts the picture of an item into a frame, or that there is none.
  function hang(frame, i, side) {
    const none = () => el('span', {class: 'nothing', role: 'img', 'aria-label': 'picture not there: ' + altOf(i)}, 'no picture');
    const address = picture(i, side);
    frame.replaceChildren(address ? el('img', {src: address, alt: altOf(i), width: side, height: side, decoding: 'async'}) : none());
    const img = frame.querySelector('img');
    if (!img) return frame;
    coming.add(img);
    const came = () => { coming.delete(img); askForPictures(); };
    img.addEventListener('load', came);
    img.addEventListener('error', () => { img.replaceWith(none()); came(); });
    return frame;
  }
  const afterPaint = f => requestAnimationFrame(() => setTimeout(f));

  const queryOf = new Map(); // item → query
  itemOf.forEach((i, q) => queryOf.set(i, q));

  function facts(i) {
    const list = [];
    if (relation(i)) list.push(el('span', {class: 'tag'}, relation(i)));
    if (heldOut.has(i)) list.push(el('span', {class: 'tag'}, 'relation never trained'));
    if (items.profile && items.profile[i] >= 0) list.push(el('span', {class: 'tag'}, 'profile ' + items.profile[i]));
    if (items.group && items.group[i]) list.push(el('span', {class: 'tag'}, 'group ' + items.group[i]));
    const link = items.url && source(items.url[i], 'source');
    if (link) list.push(link);
    return list;
  }

  // Details of a picture.
  function open(i, text) {
    const q = queryOf.get(i);
    $('picture-body').replaceChildren(hang(frame(), i, 512), el('h2', {id: 'picture-title'}, caption(i) || 'Picture without a caption'), el('p', {}, facts(i)),
      text && el('p', {}, text), el('p', {class: 'muted'}, items.id[i]),
      q === undefined ? '' : el('button', {type: 'button', onclick: () => { $('picture').close(); goTo(q); }}, 'Take it as the query'));
    $('picture').showModal();
  }

  // The tip at a picture.
  const tip = $('tip');
  let tipAt = null;
  function showTip(node, lines) {
    tip.replaceChildren(...lines.map(l => el('div', {}, l)));
    tip.hidden = false;
    tipAt = node;
    placeTip();
  }
  function placeTip() { // again when the page has scrolled: the focus may have made it
    if (tip.hidden) return;
    const box = tipAt.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const above = box.top - own.height - 6;
    tip.style.left = Math.max(8, Math.min(box.left, innerWidth - own.width - 8)) + 'px';
    tip.style.top = (above > 8 ? above : box.bottom + 6) + 'px';
  }
  function same(i, on) {
    for (const node of document.querySelectorAll('.hit')) node.classList.toggle('same', on && node.dataset.item === String(i));
  }

  function hit(m, n, i, score, mark) {
    const [sign, word] = marks[mark];
    const value = head.noScores ? '' : `score ${score}`;
    const about = `${names[m]}, rank ${n}: ${word}${value ? ', ' + value : ''}`;
    const lines = [about, relation(i), caption(i)].filter(Boolean);
    const on = e => { showTip(e.currentTarget, lines); same(i, true); };
    const off = () => { tip.hidden = true; same(i, false); };
    return el('li', {}, el('button', {type: 'button', class: 'hit ' + mark, 'data-item': i, onclick: () => { off(); open(i, about); },
      onmouseenter: on, onmouseleave: off, onfocus: e => { if (e.currentTarget.matches(':focus-visible')) on(e); }, onblur: off},
    image(i, 160), el('span', {class: 'under'}, el('span', {'aria-hidden': 'true'}, n),
      el('b', {}, el('span', {'aria-hidden': 'true'}, sign + ' '), word), el('span', {class: 'visually-hidden'}, `, rank ${n}${value ? ', ' + value : ''}`))));
  }

  let drawing = 0;
  let drawn = ''; // query and methods that the page shows, which are not drawn again
  function nowDrawn(what) {
    drawn = what;
    $('main').removeAttribute('aria-busy');
  }
  async function draw() {
    const turn = ++drawing;
    tip.hidden = true;
    const n = shown.length;
    $('previous').disabled = $('next').disabled = $('random').disabled = n === 0;
    $('position').textContent = n === 0 ? 'No query fits.' : n === total
      ? `Query ${number.format(at + 1)} of ${number.format(n)}` : `Query ${number.format(at + 1)} of ${number.format(n)} that fit (${number.format(total)} in all)`;
    if (n === 0) {
      nowDrawn('');
      forget();
      $('query').replaceChildren(el('p', {}, 'No query fits what is chosen above.'));
      $('rows').replaceChildren();
      return;
    }
    if (n > 1) later(() => { if (turn === drawing) rows(shown[(at + 1) % n]).catch(() => {}); }); // the next one is likely
    const q = shown[at], i = itemOf[q], what = [q, ...state.methods].join();
    if (what === drawn) {
      nowDrawn(what);
      return;
    }
    $('main').setAttribute('aria-busy', 'true');
    let found;
    try { found = await rows(q); } catch (error) {
      if (turn !== drawing) return;
      nowDrawn('');
      $('rows').replaceChildren(el('p', {class: 'notice', role: 'alert'}, 'The rankings of this query did not come: ' + error.message));
      return;
    }
    if (turn !== drawing) return;
    nowDrawn(what);
    forget();
    $('query').replaceChildren(image(i, 512), el('div', {}, el('h2', {}, caption(i) || 'Query without a caption'), el('p', {}, facts(i)), el('p', {class: 'muted'}, items.id[i])));
    $('rows').replaceChildren(...state.methods.map(m => {
      const [list, scores, letters] = found[m];
      return el('section', {class: 'method', 'aria-label': names[m]}, el('h3', {}, names[m], !head.noScores && el('small', {}, head.methods[m].kind)),
        el('ol', {class: 'strip', tabindex: '0', 'aria-label': `What ${names[m]} finds`}, list.map((hitItem, k) => hit(m, k + 1, hitItem, scores[k], letters[k]))));
    }));
    if (!state.methods.length) $('rows').replaceChildren(el('p', {class: 'muted'}, 'No method is chosen: mark some in the table.'));
    afterPaint(askForPictures);
  }

  // The table: which methods are shown, their figures, and those of the queries that fit.
  const percent = x => (100 * x).toFixed(1);
  const live = [];
  function table() {
    const columns = head.columns || [];
    const part = columns.some(c => c.part);
    const group = el('tr', {}, el('td', {}), judged && el('td', {class: 'now'}));
    if (part) {
      for (const name of ['seen', 'held out']) {
        const span = columns.filter(c => c.part === name).length;
        if (span) group.append(el('th', {colspan: span, scope: 'colgroup'}, name === 'seen' ? 'seen relations' : 'held-out relations'));
      }
    }
    const titles = el('tr', {}, el('th', {scope: 'col'}, 'shown'), judged && el('th', {scope: 'col', class: 'now', id: 'now'}),
      columns.map(c => el('th', {scope: 'col', title: c.help}, c.title)));
    const body = head.methods.map((m, i) => {
      const now = judged && el('td', {class: 'now'});
      live.push(now);
      const box = el('input', {type: 'checkbox', id: 'method-' + i, onchange: () => {
        state.methods = names.map((_, n) => n).filter(n => $('method-' + n).checked);
        remember(); draw();
      }});
      return el('tr', {}, el('th', {scope: 'row', title: m.how}, el('label', {}, box, m.name)), now,
        (m.figures || []).map(f => el('td', {title: f && `95 % interval ${percent(f[1])} to ${percent(f[2])}`},
          f ? [percent(f[0]), ' ', el('small', {}, `${percent(f[1])}–${percent(f[2])}`)] : '–')));
    });
    $('metrics').append(el('thead', {}, part && group, titles), el('tbody', {}, body));
    $('figures-note').textContent = columns.length ? '– figures in per cent, with 95 % intervals' : '– no metrics.json beside the rankings';
    if (matchMedia('(max-width:40rem)').matches) $('figures').open = $('which').open = false;
  }

  // shares writes for each method how many of the queries that fit it gets right.
  function shares() {
    if (!judged) return;
    $('now').textContent = (state.k === 1 ? 'right first' : `right in ${state.k}`) + (shown.length === total ? ', all' : ', of those that fit');
    let of = 0;
    for (const q of shown) of += isJudged[q];
    live.forEach((cell, m) => {
      let n = 0;
      for (const q of shown) if (isJudged[q] === 1 && within(right[m][q], state.k)) n++;
      cell.replaceChildren(of ? percent(n / of) : '–', ' ', el('small', {}, `${number.format(n)}/${number.format(of)}`));
    });
  }

  function controls() {
    $('search').value = state.search;
    $('relation').value = state.relation;
    $('part').value = state.part;
    const filters = [state.search && `“${state.search}”`, state.relation, state.part && (state.part === 'held' ? 'held out' : 'seen'),
      ...['a', 'b'].map(c => state[c] >= 0 && `${names[state[c]]} ${does[state[c + 'x']]}`)].filter(Boolean);
    $('which-note').textContent = filters.length ? '– ' + filters.join(', ') : '';
    for (const c of ['a', 'b']) {
      $(c).value = state[c];
      $(c + 'x').value = state[c + 'x'];
      $(c + 'x').disabled = state[c] < 0;
    }
    $('k').value = state.k;
    names.forEach((_, i) => { $('method-' + i).checked = state.methods.includes(i); });
  }

  // apply shows the state. keep: the query that is shown now stays if it fits.
  function apply(keep) {
    shown = fitting();
    const kept = items.id.indexOf(keep);
    at = shown.length ? Math.max(0, shown.findIndex(q => itemOf[q] === kept)) : -1;
    controls();
    shares();
    return draw();
  }

  const current = () => at >= 0 ? items.id[itemOf[shown[at]]] : state.query;
  function filter() {
    const keep = current();
    state.query = keep;
    state.search = $('search').value;
    state.relation = $('relation').value;
    state.part = $('part').value;
    for (const c of ['a', 'b']) { state[c] = Number($(c).value); state[c + 'x'] = $(c + 'x').value; }
    state.k = Number($('k').value);
    apply(keep);
    remember();
  }

  function step(by) {
    if (!shown.length) return;
    at = (at + by + shown.length) % shown.length;
    remember(true);
    draw();
  }
  function random() {
    if (shown.length < 2) return;
    at = (at + 1 + Math.floor(Math.random() * (shown.length - 1))) % shown.length;
    remember(true);
    draw();
  }
  // goTo shows a query, whatever is filtered.
  function goTo(q) {
    if (!shown.includes(q)) state = {...defaults(), methods: state.methods, k: state.k};
    apply(items.id[queries.item[q]]);
    remember(true);
    scrollTo(0, $('query').getBoundingClientRect().top + scrollY - 70);
  }

  // Build what does not change.
  const facets = new Map();
  for (const i of queries.item) facets.set(relation(i), (facets.get(relation(i)) || 0) + 1);
  const option = (value, ...text) => el('option', {value}, ...text);
  $('relation').append(option('', 'all relations'), ...[...facets].filter(([r]) => r).sort((x, y) => x[0] < y[0] ? -1 : 1).map(([r, n]) => option(r, `${r} (${number.format(n)})`)));
  $('relation-label').hidden = ![...facets.keys()].some(Boolean);
  $('part-label').hidden = !queries.item.some(i => heldOut.has(i)) || queries.item.every(i => heldOut.has(i));
  for (const c of ['a', 'b']) {
    $(c).append(option(-1, 'any method'), ...names.map((name, i) => option(i, name)));
    $(c + 'x').append(...Object.entries(does).map(([value, text]) => option(value, text)));
  }
  $('k').append(...Array.from({length: Math.min(head.top, 60)}, (_, i) => option(i + 1, i + 1)));
  $('conditions').hidden = !judged;
  $('about').textContent = `${head.data}${head.split ? ', ' + head.split : ''}: ` + (head.part
    ? `${count(total, 'query', 'queries')} of ${number.format(head.part)}, drawn at random` : count(total, 'query', 'queries')) +
    ` in a gallery of ${number.format(head.gallery)}; ${count(names.length, 'method')}, the first ${head.top} pictures of each` +
    (head.noScores ? '; these rankings have no scores' : '');
  const used = judged ? ['r', 'w', 't', 'u'] : ['u'];
  $('legend').append(...used.map(m => el('span', {}, el('b', {class: m}, `${marks[m][0]} ${marks[m][1]}`), ': ' + meaning[m])));
  table();

  $('search').addEventListener('input', () => { typed = performance.now(); filter(); });
  $('filters').addEventListener('change', e => { if (e.target.id !== 'search') filter(); });
  $('filters').addEventListener('submit', e => e.preventDefault());
  $('filters').addEventListener('reset', e => { e.preventDefault(); const keep = current(); state = {...defaults(), methods: state.methods}; apply(keep); remember(); });
  $('previous').addEventListener('click', () => step(-1));
  $('next').addEventListener('click', () => step(1));
  $('random').addEventListener('click', random);
  $('keys-button').addEventListener('click', () => $('keys').showModal());
  $('skip').addEventListener('click', e => { e.preventDefault(); $('main').focus(); });
  for (const dialog of [$('picture'), $('keys')]) dialog.addEventListener('click', e => { if (e.target === dialog) dialog.close(); });
  addEventListener('keydown', e => {
    if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
    if (e.key === 'Escape' && e.target === $('search')) { e.preventDefault(); e.target.blur(); return; } // it would empty the field, too
    if (e.target.closest('input:not([type=checkbox]),select,textarea')) return;
    const inStrip = e.target.classList && e.target.classList.contains('strip');
    const act = {ArrowRight: () => step(1), ArrowLeft: () => step(-1), j: () => step(1), k: () => step(-1), r: random,
      '/': () => { $('which').open = true; $('search').focus(); $('search').select(); }, '?': () => $('keys').showModal()}[e.key];
    if (!act || (inStrip && e.key.startsWith('Arrow'))) return; // arrows scroll a strip
    e.preventDefault();
    act();
  });
  const restore = () => { state = parse(); return apply(state.query); };
  addEventListener('hashchange', restore);
  addEventListener('popstate', restore);
  addEventListener('scroll', placeTip, {passive: true, capture: true}); // of a strip, too
  later(foldIdle);
  await restore();
  document.documentElement.dataset.ready = '';
})().catch(relsim.fail);
