// What pages search: lines of text behind one another in one string, each with a line feed behind it, folded as they are
// compared. Line i begins at at[i]; at has one number more, the end.
relsim.lines = (text, at) => {
  const n = at.length - 1;
  let last = null; // the search before

  // lineAt returns the line that has position p, which is not before that of line i.
  function lineAt(p, i) {
    let step = 1;
    while (i + step < n && at[i + step] <= p) step *= 2;
    let low = i, high = Math.min(i + step, n);
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (at[middle] <= p) low = middle; else high = middle;
    }
    return low;
  }

  // pass goes through the text once with every word: where one is far away, the lines before it are not looked at.
  function pass(words, without) {
    const found = new Uint32Array(n);
    let size = 0;
    const next = words.map(() => -1), nextNot = without.map(() => -1);
    lines:
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < words.length; k++) {
        if (next[k] < at[i]) {
          next[k] = text.indexOf(words[k], at[i]);
          if (next[k] < 0) break lines;
        }
        if (next[k] >= at[i + 1]) {
          i = lineAt(next[k], i) - 1;
          continue lines;
        }
      }
      for (let k = 0; k < without.length; k++) {
        if (nextNot[k] < at[i]) {
          nextNot[k] = text.indexOf(without[k], at[i]);
          if (nextNot[k] < 0) nextNot[k] = text.length;
        }
        if (nextNot[k] < at[i + 1]) continue lines;
      }
      found[size++] = i;
    }
    return found.slice(0, size);
  }

  // among looks at some lines only.
  function among(lines, words, without) {
    return lines.filter(i => {
      const line = text.slice(at[i], at[i + 1] - 1);
      return words.every(w => line.includes(w)) && !without.some(w => line.includes(w));
    });
  }

  // narrows reports whether every line that has the words, and none of without, is one that the search before has found.
  const narrows = (words, without) => last !== null &&
    last.words.every(old => words.some(w => w.includes(old))) && last.without.every(old => without.some(w => old.includes(w)));

  // find returns the lines that have all words and none of without, in order. What is typed letter by letter narrows what
  // was found before: where that is less than half of the lines, the others are not looked at again.
  function find(words, without) {
    const within = w => !w.includes('\n');
    let found;
    words = words.toSorted((a, b) => b.length - a.length); // a long word is rare, and skips most
    without = without.filter(within);
    if (!words.every(within)) found = new Uint32Array(0);
    else if (narrows(words, without) && last.found.length < n / 2) {
      found = among(last.found, words.filter(w => !last.words.includes(w)), without.filter(w => !last.without.includes(w)));
    } else found = pass(words, without);
    last = {words, without, found};
    return found;
  }

  return {find};
};
