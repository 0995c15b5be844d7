package training

// encoder turns captions into ids of words, each distinct one once, and captions and relations into numbers that are
// equal where they are.
type encoder struct {
	words     vocabulary
	length    int // of what the text tower reads
	captions  map[string]encoded
	relations map[string]int
}

// encoded is a caption: its ids and its number.
type encoded struct {
	ids    []int32
	number int
}

func newEncoder(words vocabulary, length int) encoder {
	return encoder{words, length, make(map[string]encoded), make(map[string]int)}
}

// caption returns the ids of a caption, which are not to be changed, and its number.
func (e encoder) caption(text string) (ids []int32, number int) {
	c, ok := e.captions[text]
	if !ok {
		c = encoded{e.words.encode(text, e.length), len(e.captions)}
		e.captions[text] = c
	}
	return c.ids, c.number
}

// relation returns the number of a relation, -1 for one that is not known.
func (e encoder) relation(name string) int {
	if name == "" {
		return -1
	}
	n, ok := e.relations[name]
	if !ok {
		n = len(e.relations)
		e.relations[name] = n
	}
	return n
}
