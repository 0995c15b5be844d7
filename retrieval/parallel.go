package retrieval

import (
	"context"
	"sync"
	"sync/atomic"
)

// parallel calls f(worker, i) for i in 0..n-1 on at most workers goroutines; worker is below workers and numbers the
// goroutine, so that f can keep buffers. After an error no new item starts, and of the errors that occurred the one of
// the lowest item is returned; a cancelled ctx gives its error.
func parallel(ctx context.Context, n, workers int, f func(worker, i int) error) error {
	var next atomic.Int64
	var mu sync.Mutex
	failed, first := n, error(nil)
	var wg sync.WaitGroup
	for worker := range min(workers, n) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || ctx.Err() != nil {
					return
				}
				if err := f(worker, i); err != nil {
					mu.Lock()
					if i < failed {
						failed, first = i, err
					}
					mu.Unlock()
					next.Store(int64(n))
					return
				}
			}
		})
	}
	wg.Wait()
	if first != nil {
		return first
	}
	return ctx.Err()
}
