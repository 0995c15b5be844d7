package kernel

import "sync"

// A cache keeps the newest values of a pure function, for several goroutines. What
// is in use elsewhere stays valid when it is dropped here.
type cache[K comparable, V any] struct {
	mu     sync.RWMutex
	values map[K]V
	order  []K // of arrival, as a ring
	next   int
}

func newCache[K comparable, V any](size int) *cache[K, V] {
	return &cache[K, V]{values: make(map[K]V, size), order: make([]K, 0, size)}
}

// get returns the value of k, from f if it is not there.
func (c *cache[K, V]) get(k K, f func(K) V) V {
	c.mu.RLock()
	v, ok := c.values[k]
	c.mu.RUnlock()
	if ok {
		return v
	}
	v = f(k) // two goroutines may both do it: the values are equal
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.values[k]; ok {
		return v
	}
	if len(c.order) < cap(c.order) {
		c.order = append(c.order, k)
	} else {
		delete(c.values, c.order[c.next])
		c.order[c.next] = k
		c.next = (c.next + 1) % len(c.order)
	}
	c.values[k] = v
	return v
}
