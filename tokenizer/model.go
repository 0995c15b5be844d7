package tokenizer

import (
	"unicode/utf8"
)

// wordPiece cuts a word into the longest pieces that the vocabulary has, from
// the left; behind the first, pieces have a prefix ("##"). A word that cannot be
// cut, or is longer than maxChars, is the unknown token (arXiv:1810.04805).
type wordPiece struct {
	lexicon  // of the vocabulary; numbers are ids
	prefix   string
	maxChars int
	unknown  int32
}

func (m *wordPiece) encode(ids []int32, word string, w *work) []int32 {
	if utf8.RuneCountInString(word) > m.maxChars {
		return append(ids, m.unknown)
	}
	before := len(ids)
	prefix := ""
	for word != "" {
		id, n := m.longest(prefix, word, &w.steps)
		if n == 0 {
			return append(ids[:before], m.unknown)
		}
		ids = append(ids, id)
		word = word[n:]
		prefix = m.prefix
	}
	return ids
}

// bpe is byte-pair encoding (arXiv:1508.07909): of all adjacent symbols of a
// word that may be merged, the pair that was learnt first is, the leftmost
// first, until none is left.
type bpe struct {
	ids     map[string]int32
	merges  map[pair]merge
	suffix  string // marks the last character of a word
	unknown int32  // Unknown: characters that are not in the vocabulary are dropped
	fuse    bool   // several unknown characters are one token
	whole   bool   // a word of the vocabulary is not taken apart
}

// pair is two ids.
type pair struct{ left, right int32 }

// merge is what a pair becomes, and when it was learnt.
type merge struct{ rank, id int32 }

// symbol is a part of a word, in a doubly linked list.
type symbol struct {
	id         int32
	prev, next int32 // places in work.symbols, or -1
	gone       bool  // merged into the one before
}

// candidate is a merge that was possible at a symbol when it was found.
type candidate struct {
	merge
	at int32 // the left symbol
}

func (c candidate) before(d candidate) bool {
	return c.rank < d.rank || c.rank == d.rank && c.at < d.at
}

func (m *bpe) encode(ids []int32, word string, w *work) []int32 {
	if m.whole {
		if id, ok := m.ids[word]; ok {
			return append(ids, id)
		}
	}
	w.symbols, w.queue = w.symbols[:0], w.queue[:0]
	fusing := false
	for i := 0; i < len(word); {
		_, n := utf8.DecodeRuneInString(word[i:])
		char := word[i : i+n]
		if i += n; i == len(word) {
			char += m.suffix
		}
		w.steps++
		id, known := m.ids[char]
		if known {
			w.symbols = append(w.symbols, symbol{id: id})
		} else if m.unknown != Unknown && !(fusing && m.fuse) {
			w.symbols = append(w.symbols, symbol{id: m.unknown})
		}
		fusing = !known
	}
	for i := range w.symbols {
		s := &w.symbols[i]
		s.prev, s.next = int32(i)-1, int32(i)+1
	}
	if n := len(w.symbols); n > 0 {
		w.symbols[n-1].next = -1
	}
	for i := range w.symbols {
		m.propose(w, int32(i))
	}
	for len(w.queue) > 0 {
		c := w.pop()
		left := &w.symbols[c.at]
		if left.gone || left.next < 0 {
			continue
		}
		right := &w.symbols[left.next]
		if now, ok := m.merges[pair{left.id, right.id}]; !ok || now.id != c.id {
			continue // one of the two has been merged since
		}
		left.id, left.next = c.id, right.next
		right.gone = true
		if left.next >= 0 {
			w.symbols[left.next].prev = c.at
		}
		if left.prev >= 0 {
			m.propose(w, left.prev)
		}
		m.propose(w, c.at)
	}
	for _, s := range w.symbols {
		if !s.gone {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// propose queues the merge of the symbol at a place with the next, if there is
// one.
func (m *bpe) propose(w *work, at int32) {
	w.steps++
	s := w.symbols[at]
	if s.next < 0 {
		return
	}
	if found, ok := m.merges[pair{s.id, w.symbols[s.next].id}]; ok {
		w.push(candidate{found, at})
	}
}

// push and pop keep queue a binary heap, first candidate on top.
func (w *work) push(c candidate) {
	w.queue = append(w.queue, c)
	for i := len(w.queue) - 1; i > 0; {
		w.steps++
		up := (i - 1) / 2
		if !w.queue[i].before(w.queue[up]) {
			break
		}
		w.queue[i], w.queue[up] = w.queue[up], w.queue[i]
		i = up
	}
}

func (w *work) pop() candidate {
	top, last := w.queue[0], len(w.queue)-1
	w.queue[0] = w.queue[last]
	w.queue = w.queue[:last]
	for i := 0; ; {
		w.steps++
		child := 2*i + 1
		if child >= last {
			return top
		}
		if child+1 < last && w.queue[child+1].before(w.queue[child]) {
			child++
		}
		if !w.queue[child].before(w.queue[i]) {
			return top
		}
		w.queue[i], w.queue[child] = w.queue[child], w.queue[i]
		i = child
	}
}
