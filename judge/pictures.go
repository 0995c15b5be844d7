package judge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
)

// keptPictures bounds the pictures that are kept ready to be sent, in bytes: the query of one question is most likely that
// of the next.
const keptPictures = 64 << 20

// pictures makes pictures ready to be sent, and keeps the last ones.
type pictures struct {
	plan   *Plan
	source Source

	mu    sync.Mutex
	ready map[int]Picture
	order []int // of ready, the oldest first
	bytes int
}

func newPictures(p *Plan, source Source) *pictures {
	return &pictures{plan: p, source: source, ready: make(map[int]Picture)}
}

// get returns the picture of an item.
func (p *pictures) get(ctx context.Context, item int) (Picture, error) {
	p.mu.Lock()
	picture, ok := p.ready[item]
	p.mu.Unlock()
	if ok {
		return picture, nil
	}
	data, err := p.source(ctx, item)
	if err != nil {
		return Picture{}, err
	}
	sum := sha256.Sum256(data)
	if hex.EncodeToString(sum[:]) != p.plan.pictures[item].hash {
		return Picture{}, errors.New("judge: the file of a picture has changed since the run began")
	}
	picture, err = NewPicture(data, p.plan.Config.MaxSide)
	if err != nil {
		return Picture{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.ready[item]; !ok {
		p.ready[item] = picture
		p.order = append(p.order, item)
		p.bytes += len(picture.Data)
	}
	for p.bytes > keptPictures {
		p.bytes -= len(p.ready[p.order[0]].Data)
		delete(p.ready, p.order[0])
		p.order = p.order[1:]
	}
	return picture, nil
}
