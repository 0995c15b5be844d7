package download

import (
	"container/heap"
	"net/url"
	"sync"
	"time"
)

// task is a picture to be had: one request and its answer at a time.
type task struct {
	keys     []*key   // the rows that it is for: more than one where rows share an address
	urls     []string // where it may be had, in the order of asking
	adopt    string   // a file that may be it already
	stale    string   // a file of its name that is none
	fallback string   // the last of urls, where there is a fallback

	at      int      // in urls
	u       *url.URL // where it is asked for now: urls[at], or where that redirects to
	hops    []string // redirections from urls[at] on, itself first
	tries   int      // requests of this run
	here    int      // those for urls[at]
	limited int      // those of them that the host had asked to put off
	first   *failure // of the first address: what the ledger says if all fail
	due     time.Time
	number  int // in the order of rows
}

// host is a server, as its name and port.
type host struct {
	name    string
	queue   []*task // in order; those before head are gone
	head    int
	active  int       // requests under way
	limit   float64   // of active: fewer after it has asked for a pause
	until   time.Time // the end of a pause
	waiting bool      // it is in the list of hosts with work
	silent  int       // connections in a row that did not come about
	closed  *failure  // it is not to be asked any more in this run
}

// scheduler hands out tasks. A task that waits holds no worker; a host has no more than so many requests at a time, and
// none while it has asked for a pause.
type scheduler struct {
	perHost int

	mu      sync.Mutex
	wake    *sync.Cond
	hosts   map[string]*host
	ready   []*host // with work, in turns
	later   taskHeap
	resting hostHeap
	left    int // tasks that are not finished
	timer   *time.Timer
	armed   time.Time // when timer goes off; zero: it does not
	stopped bool
	unheard map[string]bool // hosts that did not answer since one has
	heardOf bool            // a host has answered in this run
}

func newScheduler(perHost int) *scheduler {
	s := &scheduler{perHost: perHost, hosts: make(map[string]*host), unheard: make(map[string]bool)}
	s.wake = sync.NewCond(&s.mu)
	return s
}

// add puts a task in. Tasks to adopt files need no host.
func (s *scheduler) add(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left++
	s.enqueue(t, false)
}

// enqueue puts a task at the end, or the front, of its host's queue.
func (s *scheduler) enqueue(t *task, front bool) {
	name := ""
	if t.u != nil && t.adopt == "" {
		name = hostOf(t.u)
	}
	h := s.hosts[name]
	if h == nil {
		h = &host{name: name, limit: float64(s.perHost)}
		if name == "" {
			h.limit = 1 << 20
		}
		s.hosts[name] = h
	}
	switch {
	case front && h.head > 0:
		h.head--
		h.queue[h.head] = t
	case front:
		h.queue = append([]*task{t}, h.queue...)
	default:
		h.queue = append(h.queue, t)
	}
	s.offer(h)
}

// offer puts a host into the list of those with work, if it may be asked.
func (s *scheduler) offer(h *host) {
	if h.waiting || h.head == len(h.queue) || !h.open(time.Now()) {
		return // it comes back when a request or its pause ends
	}
	h.waiting = true
	s.ready = append(s.ready, h)
	s.wake.Signal()
}

// open tells whether a host may be asked now. One that is closed may: its tasks are handed out to be put away.
func (h *host) open(now time.Time) bool {
	return h.closed != nil || h.active < max(1, int(h.limit)) && !now.Before(h.until)
}

// next returns a task, and waits for one if need be. closed, if not nil, is why its host is not to be asked. A nil task
// is the end.
func (s *scheduler) next() (t *task, closed *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.stopped || s.left == 0 {
			s.wake.Broadcast()
			return nil, nil
		}
		s.collect(time.Now())
		if len(s.ready) > 0 {
			h := s.ready[0]
			s.ready = s.ready[1:]
			h.waiting = false
			if !h.open(time.Now()) { // since it was put there it has asked for a pause, or bears less
				continue
			}
			t := h.queue[h.head]
			h.queue[h.head] = nil
			if h.head++; h.head == len(h.queue) {
				h.queue, h.head = nil, 0
			} else if h.head > 1024 && h.head > len(h.queue)/2 {
				h.queue, h.head = append([]*task(nil), h.queue[h.head:]...), 0
			}
			h.active++
			s.offer(h)
			return t, h.closed
		}
		s.arm()
		s.wake.Wait()
	}
}

// collect puts what is due into the queues.
func (s *scheduler) collect(now time.Time) {
	for len(s.later) > 0 && !s.later[0].due.After(now) {
		s.enqueue(heap.Pop(&s.later).(*task), true)
	}
	for len(s.resting) > 0 && !s.resting[0].until.After(now) {
		r := heap.Pop(&s.resting).(rest)
		s.offer(r.host)
	}
}

// arm sees that someone looks when the next thing is due.
func (s *scheduler) arm() {
	var next time.Time
	if len(s.later) > 0 {
		next = s.later[0].due
	}
	if len(s.resting) > 0 && (next.IsZero() || s.resting[0].until.Before(next)) {
		next = s.resting[0].until
	}
	if next.IsZero() || !s.armed.IsZero() && !s.armed.After(next) {
		return
	}
	s.armed = next
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer = time.AfterFunc(time.Until(next), func() {
		s.mu.Lock()
		s.armed = time.Time{}
		s.collect(time.Now())
		s.arm()
		s.mu.Unlock()
	})
}

// stop ends the handing out.
func (s *scheduler) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.wake.Broadcast()
}

// release ends the request of a host that a task had.
func (s *scheduler) release(name string) *host {
	h := s.hosts[name]
	h.active--
	return h
}

// finished takes a task out.
func (s *scheduler) finished(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.release(name)
	if s.left--; s.left == 0 {
		s.wake.Broadcast()
	}
	s.offer(h)
}

// again puts a task back: at due, or at once for another address.
func (s *scheduler) again(name string, t *task, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.release(name)
	if due.IsZero() {
		s.enqueue(t, true)
	} else {
		t.due = due
		heap.Push(&s.later, t)
		s.wake.Signal() // someone has to arm the timer
	}
	s.offer(h)
}

const (
	givenUp = 16  // connections to a host that fail in a row until it is left alone
	offline = 100 // hosts that do not answer in a row until the network is thought to be down
)

// heard notes how a host has answered. down says that no host has answered for long.
func (s *scheduler) heard(name string, f *failure, maxWait time.Duration) (down bool) {
	if f != nil && f.fatal != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[name]
	if f != nil && f.unheard {
		s.unheard[name] = true
		if !s.heardOf { // it may be the network that is not there, rather than the host
			f.again = true
		}
		if h.silent++; h.silent >= givenUp && h.closed == nil && f.again {
			s.close(h, &failure{reason: f.reason + " (the host is left alone after many of these)", again: true, unheard: true})
		}
		return len(s.unheard) >= offline
	}
	s.heardOf = true
	if h.silent = 0; len(s.unheard) > 0 {
		clear(s.unheard)
	}
	if f == nil {
		h.limit = min(h.limit+1/h.limit, max(h.limit, float64(s.perHost)))
		return false
	}
	if !f.pauseHost {
		return false
	}
	h.limit = max(1, h.limit/2)
	if f.after > maxWait {
		if h.closed == nil {
			s.close(h, f)
		}
		return false
	}
	if until := time.Now().Add(f.after); until.After(h.until) {
		h.until = until
		heap.Push(&s.resting, rest{until, h})
		s.wake.Signal()
	}
	return false
}

// close leaves a host alone: its tasks are handed out with the reason.
func (s *scheduler) close(h *host, f *failure) {
	h.closed = f
	s.offer(h)
	s.wake.Broadcast()
}

// taskHeap has the task that is due first at its root.
type taskHeap []*task

func (h taskHeap) Len() int { return len(h) }
func (h taskHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].number < h[j].number
	}
	return h[i].due.Before(h[j].due)
}
func (h taskHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *taskHeap) Push(x any)   { *h = append(*h, x.(*task)) }
func (h *taskHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

// rest is the pause of a host.
type rest struct {
	until time.Time
	host  *host
}

// hostHeap has the host whose pause ends first at its root.
type hostHeap []rest

func (h hostHeap) Len() int           { return len(h) }
func (h hostHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h hostHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *hostHeap) Push(x any)        { *h = append(*h, x.(rest)) }
func (h *hostHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	*h = old[:len(old)-1]
	return r
}
