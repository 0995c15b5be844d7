package kernel

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
)

// Pool is a fixed number of threads that share the pieces of one kernel after
// another. A nil *Pool has one thread, the calling goroutine. A Pool may be used by
// several goroutines at once, and an item may itself call Run.
//
// Each worker has a mailbox of its own, and the pieces of a call are counted out by
// one atomic counter: threads meet in no lock, and a call costs a store for each of
// them.
type Pool struct {
	threads int
	workers []worker
	quit    chan struct{}
	closed  atomic.Bool
	ended   sync.WaitGroup
	free    freelist[batch]

	precision Precision
	owner     *Pool // whose threads these are, or nil: see With
}

// worker is a goroutine of a Pool. It takes what lies in its mailbox, looks there for
// a while if there is nothing, and sleeps then.
type worker struct {
	mail   atomic.Pointer[batch]
	asleep atomic.Bool
	wake   chan struct{} // holds one
	_      [cacheLine - 24]byte
}

const cacheLine = 64

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
	work  items
	n     int64
	next  atomic.Int64 // the item to take next
	left  atomic.Int64 // items that are not done
	refs  atomic.Int64 // goroutines and mailboxes that know the batch
	state atomic.Int32 // running, awaited or finished
	done  chan struct{}

	mu      sync.Mutex
	failure any // what the first panicking item panicked with
	failed  bool
}

const (
	running int32 = iota
	awaited       // the caller sleeps until it is told
	finished
)

// NewPool starts a pool of the given number of threads, one of which is the
// goroutine that calls [Pool.Run]. It panics if threads is not positive.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		panic(fmt.Sprintf("kernel: NewPool: %d threads, want at least 1", threads))
	}
	p := &Pool{threads: threads, workers: make([]worker, threads-1), quit: make(chan struct{})}
	for i := range p.workers {
		w := &p.workers[i]
		w.wake = make(chan struct{}, 1)
		p.ended.Add(1)
		go p.serve(w)
	}
	return p
}

// Crowded returns what to tell a user who asks for more threads than the process may run
// at a time, "" if they do not.
func Crowded(threads int) string {
	if most := runtime.GOMAXPROCS(0); threads > most {
		return fmt.Sprintf("%d threads on %d processors: more threads than processors slow the work down", threads, most)
	}
	return ""
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
	if !p.closed.Swap(true) {
		close(p.quit)
	}
	p.ended.Wait()
}

// Run calls f(0) … f(n-1), in any order and on any of the pool's threads, and
// returns when all have returned. If an item panics, Run panics with the same
// value, after the others are done.
func (p *Pool) Run(n int, f func(i int)) { p.run(n, itemFunc(f)) }

func (p *Pool) run(n int, w items) {
	if p != nil && p.owner != nil {
		p = p.owner
	}
	if p == nil || p.threads == 1 || n <= 1 || p.closed.Load() {
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
	b.state.Store(running)
	b.refs.Store(1)
	p.handOut(b, min(p.threads, n)-1)
	b.help()
	b.wait()
	failed, failure := b.failed, b.failure
	p.release(b)
	if failed {
		panic(failure)
	}
}

// handOut puts b into as many mailboxes, in the place of calls that have ended before
// their worker woke. Another call that is in a mailbox stays there; the caller does the
// items that nobody else does.
func (p *Pool) handOut(b *batch, helpers int) {
	for i := range p.workers {
		if helpers == 0 {
			return
		}
		w := &p.workers[i]
		old := w.mail.Load()
		if old != nil && old.state.Load() != finished {
			continue
		}
		b.refs.Add(1)
		if !w.mail.CompareAndSwap(old, b) {
			b.refs.Add(-1)
			continue
		}
		if old != nil {
			p.release(old)
		}
		helpers--
		if w.asleep.Load() {
			select {
			case w.wake <- struct{}{}:
			default: // it has been told
			}
		}
	}
}

// serve is the goroutine of w.
func (p *Pool) serve(w *worker) {
	defer p.ended.Done()
	for {
		b := w.poll()
		if b == nil {
			// Either the worker sees the mail here, or who brings it sees that it sleeps.
			w.asleep.Store(true)
			if w.mail.Load() == nil {
				select {
				case <-w.wake:
				case <-p.quit:
					return
				}
			}
			w.asleep.Store(false)
			continue
		}
		b.help()
		p.release(b)
	}
}

// spins is how often a goroutine looks for work, or for its end, before it sleeps: some
// 20 µs. The kernels of a step follow on one another within microseconds, and waking a
// thread takes longer than most of them.
const spins = 40000

// poll looks for a batch for a while, and takes it.
func (w *worker) poll() *batch {
	for range spins {
		if w.mail.Load() != nil {
			return w.mail.Swap(nil)
		}
	}
	return nil
}

// wait returns when all items are done.
func (b *batch) wait() {
	for range spins {
		if b.state.Load() == finished {
			return
		}
	}
	if b.state.CompareAndSwap(running, awaited) {
		<-b.done
	}
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
	if b.left.Add(-1) == 0 && b.state.Swap(finished) == awaited {
		b.done <- struct{}{}
	}
}

// freelist keeps structs with their scratch memory for reuse. The zero value is
// ready. Unlike a sync.Pool it does not forget them at a garbage collection; it
// holds as many as were ever in use at once, up to its places. No call waits for
// another.
type freelist[T any] struct {
	ready  atomic.Int64 // structs that lie here and are promised to nobody
	places [freePlaces]atomic.Pointer[T]
}

const freePlaces = 256

// get returns a struct as it was put back, or a zero one.
func (l *freelist[T]) get() *T {
	for {
		n := l.ready.Load()
		if n == 0 {
			return new(T)
		}
		if l.ready.CompareAndSwap(n, n-1) {
			break
		}
	}
	for i := rand.Uint32(); ; i++ { // one lies here: who took a place on the way has left another
		at := &l.places[i%freePlaces]
		if at.Load() != nil {
			if x := at.Swap(nil); x != nil {
				return x
			}
		}
	}
}

func (l *freelist[T]) put(x *T) {
	first := rand.Uint32()
	for i := range uint32(freePlaces) {
		at := &l.places[(first+i)%freePlaces]
		if at.Load() == nil && at.CompareAndSwap(nil, x) {
			l.ready.Add(1)
			return
		}
	}
}
