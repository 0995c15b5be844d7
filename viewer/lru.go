package viewer

import "container/list"

type thumbKey struct{ row, side int }

// lru keeps the pictures that were used last, within a limit of bytes.
type lru struct {
	limit, size int64
	entries     map[thumbKey]*list.Element
	order       list.List // of lruEntry; the first was used last
}

type lruEntry struct {
	key   thumbKey
	thumb Thumb
}

// cost is the memory of an entry in bytes, with what stands around the picture.
func (e lruEntry) cost() int64 { return int64(len(e.thumb.Data)) + 300 }

func (c *lru) get(key thumbKey) (Thumb, bool) {
	e, ok := c.entries[key]
	if !ok {
		return Thumb{}, false
	}
	c.order.MoveToFront(e)
	return e.Value.(lruEntry).thumb, true
}

func (c *lru) add(key thumbKey, thumb Thumb) {
	if c.entries == nil {
		c.entries = make(map[thumbKey]*list.Element)
	}
	entry := lruEntry{key, thumb}
	if _, ok := c.entries[key]; ok || entry.cost() > c.limit {
		return
	}
	c.entries[key] = c.order.PushFront(entry)
	for c.size += entry.cost(); c.size > c.limit; {
		old := c.order.Remove(c.order.Back()).(lruEntry)
		delete(c.entries, old.key)
		c.size -= old.cost()
	}
}
