package kernel

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Pool is a fixed number of threads that share the pieces of one kernel after
// another. A nil *Pool has one thread, the calling goroutine. A Pool may be used by
// several goroutines at once, and an item may itself call Run.
type Pool struct {
	threads int
	queue   chan *batch
	quit    chan struct{}
	workers sync.WaitGroup
	closing sync.Once
	free    freelist[batch]

	precision Precision
	owner     *Pool // whose threads these are, or nil: see With
}

// items is a piece of work that a Pool can share. Kernels keep their parameters in
// a struct from a freelist and pass its pointer, because a closure would be
// allocated at each call.
type items interface {
	item(i int) // does item i
}

type itemFunc func(i int)

func (f itemFunc) item(i int) { f(i) }

// batch is one call of Run.
type batch struct {
	work items
	n    int64
	next atomic.Int64 // the item to take next
	left atomic.Int64 // items that are not done
	refs atomic.Int64 // goroutines and queue entries that know the batch
	done chan struct{}

	mu      sync.Mutex
	failure any // what the first panicking item panicked with
	failed  bool
}

// NewPool starts a pool of the given number of threads, one of which is the
// goroutine that calls [Pool.Run]. It panics if threads is not positive.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		panic(fmt.Sprintf("kernel: NewPool: %d threads, want at least 1", threads))
	}
	p := &Pool{
		threads: threads,
		queue:   make(chan *batch, threads-1),
		quit:    make(chan struct{}),
	}
	for range threads - 1 {
		p.workers.Add(1)
		go p.worker()
	}
	return p
}

// Threads returns the number of threads, 1 for a nil Pool.
func (p *Pool) Threads() int {
	if p == nil {
		return 1
	}
	return p.threads
}

// Close ends the pool's goroutines and waits for them. Later calls of Run use the
// calling goroutine only. A Pool that [Pool.With] made is closed with the one that it
// was made from.
func (p *Pool) Close() {
	if p == nil || p.owner != nil {
		return
	}
	p.closing.Do(func() { close(p.quit) })
	p.workers.Wait()
}

// Run calls f(0) … f(n-1), in any order and on any of the pool's threads, and
// returns when all have returned. If an item panics, Run panics with the same
// value, after the others are done.
func (p *Pool) Run(n int, f func(i int)) { p.run(n, itemFunc(f)) }

func (p *Pool) run(n int, w items) {
	if p != nil && p.owner != nil {
		p = p.owner
	}
	if p == nil || p.threads == 1 || n <= 1 {
		for i := range n {
			w.item(i)
		}
		return
	}
	b := p.free.get()
	if b.done == nil {
		b.done = make(chan struct{}, 1)
	}
	b.work, b.n = w, int64(n)
	b.next.Store(0)
	b.left.Store(int64(n))
	helpers := min(p.threads, n) - 1
	b.refs.Store(int64(helpers) + 1)
	for range helpers {
		select {
		case p.queue <- b:
		default: // every worker has something to do already
			b.refs.Add(-1)
		}
	}
	b.help()
	b.wait()
	failed, failure := b.failed, b.failure
	p.release(b)
	if failed {
		panic(failure)
	}
}

func (p *Pool) worker() {
	defer p.workers.Done()
	for {
		b := p.poll()
		if b == nil {
			select {
			case b = <-p.queue:
			case <-p.quit:
				return
			}
		}
		b.help()
		p.release(b)
	}
}

// spins is how often a goroutine looks for work, or for its end, before it sleeps: some 20 µs. The kernels of a step
// follow on one another within microseconds, and waking a thread takes longer than most of them.
const spins = 5000

// poll looks for a batch for a while.
func (p *Pool) poll() *batch {
	for range spins {
		select {
		case b := <-p.queue:
			return b
		default:
		}
	}
	return nil
}

// wait returns when all items are done.
func (b *batch) wait() {
	for range spins {
		select {
		case <-b.done:
			return
		default:
		}
	}
	<-b.done
}

// release gives one reference up; the last one keeps the batch for reuse.
func (p *Pool) release(b *batch) {
	if b.refs.Add(-1) == 0 {
		b.work, b.failure, b.failed = nil, nil, false
		p.free.put(b)
	}
}

// help takes items until there are none left to take.
func (b *batch) help() {
	for {
		i := b.next.Add(1) - 1
		if i >= b.n {
			return
		}
		b.do(int(i))
	}
}

func (b *batch) do(i int) {
	defer b.finish()
	b.work.item(i)
}

// finish counts one item as done, and keeps what it panicked with.
func (b *batch) finish() {
	if r := recover(); r != nil {
		b.mu.Lock()
		if !b.failed {
			b.failed, b.failure = true, r
		}
		b.mu.Unlock()
	}
	if b.left.Add(-1) == 0 {
		b.done <- struct{}{}
	}
}

// freelist keeps structs with their scratch memory for reuse. The zero value is
// ready. Unlike a sync.Pool it does not forget them at a garbage collection; it
// holds as many as were ever in use at once.
type freelist[T any] struct {
	mu   sync.Mutex
	free []*T
}

// get returns a struct as it was put back, or a zero one.
func (l *freelist[T]) get() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.free)
	if n == 0 {
		return new(T)
	}
	x := l.free[n-1]
	l.free[n-1] = nil
	l.free = l.free[:n-1]
	return x
}

func (l *freelist[T]) put(x *T) {
	l.mu.Lock()
	l.free = append(l.free, x)
	l.mu.Unlock()
}
