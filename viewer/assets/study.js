// The page of a study: one question after another. The server knows who is compared; the page does not.
(() => {
  const {el, number} = relsim;
  const $ = id => document.getElementById(id);
  let rater = '';
  let question = null;
  let since = 0; // when the pictures of the question were all there
  let busy = true;

  const show = id => { for (const part of ['who', 'ask', 'end']) $(part).hidden = part !== id; };
  const address = (task, side) => `picture/${task}/${side}?rater=${encodeURIComponent(rater)}`;

  function trouble(text) {
    document.querySelector('.notice')?.remove();
    if (text) document.querySelector('main').prepend(el('p', {class: 'notice', role: 'alert'}, text));
  }

  async function call(path, options) {
    let answer;
    try { answer = await fetch(path, options); } catch { throw new Error('The server does not answer. Your last answer may not be kept: try again in a moment.'); }
    if (answer.status === 409) throw Object.assign(new Error('You have answered this question in another window; here is how it stands.'), {again: true});
    if (!answer.ok) throw new Error((await answer.text()).trim() || answer.statusText);
    return answer.json();
  }

  const ask = place => call(`question?rater=${encodeURIComponent(rater)}` + (place === undefined ? '' : `&place=${place}`));

  // picture shows one, and resolves when it is there or cannot be.
  function picture(side, name) {
    return new Promise(done => {
      const img = el('img', {alt: name, src: address(question.task, side), width: 512, height: 512});
      img.addEventListener('load', done);
      img.addEventListener('error', () => { $('picture-' + side).replaceChildren(el('p', {class: 'muted'}, 'This picture cannot be shown: answer later.')); done('lost'); });
      $('picture-' + side).replaceChildren(img);
    });
  }

  function enable(on) {
    for (const id of ['a', 'b', 'same']) $(id).disabled = !on;
  }

  async function draw(q) {
    question = q;
    busy = true;
    enable(false);
    const text = `${number.format(q.done)} of ${number.format(q.total)} answered`;
    if (!q.task) {
      $('end-count').textContent = text + '.';
      show('end');
      busy = false;
      $('end-back').focus();
      return;
    }
    show('ask');
    $('progress').max = q.total;
    $('progress').value = q.done;
    $('count').textContent = text;
    $('back').disabled = q.place === 0;
    $('skip').disabled = !q.next;
    $('before').textContent = q.answer ? 'You have answered this one; you may change it.' : '';
    for (const id of ['a', 'b', 'same']) $(id).setAttribute('aria-pressed', q.answer === id);
    const lost = (await Promise.all([picture('q', 'The picture'), picture('a', 'Picture A'), picture('b', 'Picture B')])).includes('lost');
    if (question !== q) return;
    since = performance.now();
    busy = false;
    enable(!lost);
    if (q.next) for (const side of ['q', 'a', 'b']) new Image().src = address(q.next, side); // they are likely next
  }

  // attempt runs something that ends in a question, and says what went wrong.
  async function attempt(get) {
    busy = true;
    enable(false);
    try {
      const q = await get();
      trouble('');
      await draw(q);
    } catch (error) {
      trouble(error.message);
      if (error.again) await draw(await ask(question.place));
      else { busy = false; enable(question && question.task); }
    }
  }

  function answer(choice) {
    if (busy || !question || !question.task || $('a').disabled) return;
    const body = JSON.stringify({rater, task: question.task, answer: choice, revision: question.revision, seconds: Math.round(performance.now() - since) / 1000});
    attempt(() => call('answer', {method: 'POST', headers: {'Content-Type': 'application/json'}, body}));
  }
  const go = place => { if (!busy && question && place >= 0 && place < question.total) attempt(() => ask(place)); };
  const back = () => go(question ? question.place - 1 : -1);

  function begin() {
    rater = (new URLSearchParams(location.hash.slice(1)).get('rater') || '').trim();
    trouble('');
    if (!rater) { show('who'); $('rater').focus(); return; }
    attempt(() => ask());
  }

  $('who').addEventListener('submit', e => {
    e.preventDefault();
    const name = $('rater').value.trim();
    if (name) location.hash = new URLSearchParams({rater: name});
  });
  for (const id of ['a', 'b', 'same']) $(id).addEventListener('click', () => answer(id));
  $('back').addEventListener('click', back);
  $('skip').addEventListener('click', () => go(question.place + 1));
  $('end-back').addEventListener('click', () => go(question.total - 1));
  addEventListener('keydown', e => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.repeat || $('ask').hidden) return; // a key that is held is one answer
    const act = {ArrowLeft: () => answer('a'), 1: () => answer('a'), ArrowRight: () => answer('b'), 2: () => answer('b'),
      ArrowDown: () => answer('same'), 0: () => answer('same'), Backspace: back}[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  });
  addEventListener('hashchange', begin);
  begin();
})();
