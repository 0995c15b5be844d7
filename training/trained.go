package training

import (
	"context"
	"fmt"

	"relsim/checkpoints"
	"relsim/nn"
)

// Trained is the model of a checkpoint as it was trained, to be written in another form: adapters are beside the
// weights of their layers.
type Trained struct {
	Model  *nn.Model
	Config Config
	// Bases are the published models that the towers began as.
	Bases Bases
	// Source is what the model was trained on; nil where the checkpoint does not say.
	Source *Source
	// Checkpoint is the folder.
	Checkpoint string

	words   vocabulary
	records baseRecords
}

// OpenTrained opens the model of a run (its best checkpoint is taken) or of a checkpoint folder, with the published
// models that its towers began as, whether their weights are in the checkpoint or not.
func OpenTrained(ctx context.Context, path string, o OpenOptions) (*Trained, error) {
	dir, err := checkpoints.Resolve(path)
	if err != nil {
		return nil, err
	}
	snapshot, err := checkpoints.Load(dir)
	if err != nil {
		return nil, err
	}
	m, err := readSnapshot(ctx, dir, snapshot, o, func(Config, nn.Tower) bool { return true })
	if err != nil {
		return nil, fmt.Errorf("training: open %s: %w", dir, err)
	}
	return m, nil
}

// Fingerprint is a hash of what a tower took from its base, as the checkpoint records it; empty: nothing.
func (m *Trained) Fingerprint(t nn.Tower) string { return m.records[t].Weights }
