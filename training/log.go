package training

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"relsim/checkpoints"
)

// Row is one line of metrics.jsonl: a step, or, when Validation is set, a validation after that step.
type Row struct {
	Step  int `json:"step"`  // steps done, this one included
	Epoch int `json:"epoch"` // of the last picture of the step, from 0

	Loss            float64 `json:"loss,omitempty"`
	Accuracy        float64 `json:"accuracy,omitempty"` // share of the batch whose best caption is a positive
	LearningRate    float64 `json:"learning_rate,omitempty"`
	GradNorm        float64 `json:"grad_norm,omitempty"` // before clipping
	ImagesPerSecond float64 `json:"images_per_second,omitempty"`
	Seconds         float64 `json:"seconds,omitempty"` // since the run, or its continuation, began

	Validation map[string]float64 `json:"validation,omitempty"`
}

// MetricsFile is the name of the log in a run folder.
const MetricsFile = "metrics.jsonl"

// journal appends rows to metrics.jsonl.
type journal struct {
	file   *os.File
	buffer *bufio.Writer
}

// trimLog drops the rows after the given step from the log of a run, the steps that a resumed run repeats, and returns
// the others. The folder is made if it is not there.
func trimLog(run string, step int) ([]Row, error) {
	path := filepath.Join(run, MetricsFile)
	rows, err := ReadLog(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(row Row) bool { return row.Step > step })
	if err := os.MkdirAll(run, 0o755); err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	err = checkpoints.WriteFile(path, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		for _, row := range rows {
			if err := encoder.Encode(row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	return rows, nil
}

// openJournal opens the log of a run to append to.
func openJournal(run string) (*journal, error) {
	file, err := os.OpenFile(filepath.Join(run, MetricsFile), os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	return &journal{file: file, buffer: bufio.NewWriter(file)}, nil
}

func (j *journal) write(row Row) error {
	line, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("training: %s: step %d: %w", MetricsFile, row.Step, err)
	}
	j.buffer.Write(line)
	j.buffer.WriteByte('\n')
	return nil
}

// flush hands the rows to the operating system; a write error of earlier rows shows here.
func (j *journal) flush() error {
	if err := j.buffer.Flush(); err != nil {
		return fmt.Errorf("training: %s: %w", j.file.Name(), err)
	}
	return nil
}

func (j *journal) close() error {
	return errors.Join(j.flush(), j.file.Close())
}

// ReadLog reads the rows of a metrics.jsonl. A last line that is cut off, as a killed run leaves it, is dropped; a
// broken line elsewhere is an error.
func ReadLog(path string) ([]Row, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("training: %w", err)
	}
	var rows []Row
	for number := 1; len(data) > 0; number++ {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		data = rest
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var row Row
		if err := json.Unmarshal(line, &row); err != nil {
			if !whole {
				return rows, nil
			}
			return nil, fmt.Errorf("training: %s:%d: %w", path, number, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}
