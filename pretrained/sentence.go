package pretrained

import (
	"fmt"
	"strings"

	"relsim/nn"
)

// sentence is what the layout of sentence-transformers says besides the encoder.
type sentence struct {
	pool      nn.Pool
	width     int // of the vectors that are pooled; 0: it does not say
	normalize bool
	length    int // most words of a text, special ones included; 0: as many as the encoder has positions
}

// openSentence reads modules.json and what it names, and returns the folder of the
// encoder. Without modules.json it returns nil and the folder itself.
func openSentence(f folder) (*sentence, folder, error) {
	var modules []struct {
		Path string `json:"path"`
		Type string `json:"type"`
	}
	if there, err := f.optional("modules.json", maxConfig, &modules); !there {
		return nil, f, err
	}
	s := &sentence{pool: nn.PoolMean}
	encoder, seen := f, ""
	for i, module := range modules {
		fail := func(err error) (*sentence, folder, error) {
			return nil, f, fmt.Errorf("modules.json: module %d, %s: %w", i, module.Type, err)
		}
		kind := module.Type[strings.LastIndexByte(module.Type, '.')+1:]
		// Transformer, then Pooling, then perhaps Normalize.
		if order := map[string]string{"Transformer": "", "Pooling": "Transformer", "Normalize": "Pooling"}; kind == "Dense" || !has(order, kind) || order[kind] != seen {
			return fail(fmt.Errorf("want Transformer, Pooling and perhaps Normalize, in this order"))
		}
		seen = kind
		at := f
		if module.Path != "" && kind != "Normalize" {
			var err error
			if at, err = f.sub(module.Path); err != nil {
				return fail(err)
			}
		}
		switch kind {
		case "Transformer":
			encoder = at
			var c struct {
				Length *int `json:"max_seq_length"`
			}
			if _, err := at.optional("sentence_bert_config.json", maxConfig, &c); err != nil {
				return fail(err)
			}
			if c.Length != nil {
				if *c.Length < 1 {
					return fail(fmt.Errorf("sentence_bert_config.json: max_seq_length %d: want at least 1", *c.Length))
				}
				s.length = *c.Length
			}
		case "Pooling":
			if err := s.readPooling(at); err != nil {
				return fail(err)
			}
		case "Normalize":
			s.normalize = true
		}
	}
	if seen == "" || seen == "Transformer" {
		return nil, f, fmt.Errorf("modules.json: %d modules without a Pooling", len(modules))
	}
	return s, encoder, nil
}

func has(m map[string]string, key string) bool {
	_, ok := m[key]
	return ok
}

// readPooling reads which rows are pooled, and how.
func (s *sentence) readPooling(f folder) error {
	var c struct {
		Width    int  `json:"word_embedding_dimension"`
		CLS      bool `json:"pooling_mode_cls_token"`
		Mean     bool `json:"pooling_mode_mean_tokens"`
		Max      bool `json:"pooling_mode_max_tokens"`
		Sqrt     bool `json:"pooling_mode_mean_sqrt_len_tokens"`
		Weighted bool `json:"pooling_mode_weightedmean_tokens"`
		Last     bool `json:"pooling_mode_lasttoken"`
	}
	if err := f.json("config.json", maxConfig, &c); err != nil {
		return err
	}
	s.width = c.Width
	var pools []nn.Pool
	for _, mode := range []struct {
		on   bool
		pool nn.Pool
	}{{c.CLS, nn.PoolCLS}, {c.Mean, nn.PoolMean}, {c.Max, nn.PoolMax}} {
		if mode.on {
			pools = append(pools, mode.pool)
		}
	}
	if len(pools) != 1 || c.Sqrt || c.Weighted || c.Last {
		return fmt.Errorf("config.json: want one of pooling_mode_cls_token, pooling_mode_mean_tokens and pooling_mode_max_tokens to be true, and no other mode")
	}
	s.pool = pools[0]
	return nil
}
