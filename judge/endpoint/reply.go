package endpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/openai/openai-go/v3"

	"relsim/judge"
)

// maxValues bounds the values of an answer, by the commas and brackets outside of its texts; there are some fifty in one. The
// library takes 1.2 kB for an element that has two characters.
const maxValues = 4096

// read makes a reply of the body of an answer.
func read(data []byte) (*judge.Reply, error) {
	if err := countValues(data); err != nil {
		return nil, err
	}
	var from openai.ChatCompletion
	if !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) { // a list is an empty object to some versions of the library
		return nil, errors.New("not the JSON of a chat completion")
	}
	if err := json.Unmarshal(data, &from); err != nil {
		return nil, fmt.Errorf("not the JSON of a chat completion: %w", err)
	}
	if len(from.Choices) == 0 || !strings.HasPrefix(from.Choices[0].JSON.Message.Raw(), "{") {
		return nil, errors.New("the JSON has no choices[0].message")
	}
	choice := from.Choices[0]
	text, err := contentText(choice.Message)
	if err != nil {
		return nil, err
	}
	return &judge.Reply{
		ID: shortened(from.ID, 200), Model: shortened(from.Model, 200), Text: text, Refusal: choice.Message.Refusal,
		Finish: shortened(choice.FinishReason, 64), Raw: string(data),
		Usage: judge.Usage{Input: count(from.Usage.PromptTokens), Output: count(from.Usage.CompletionTokens)},
	}, nil
}

// count is a number of tokens that somebody else says.
func count(n int64) int { return int(min(max(n, 0), math.MaxInt32)) }

// countValues refuses bodies whose values would take much more memory than their bytes. They need not be JSON.
func countValues(data []byte) error {
	n := 1
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case ',', '[', '{':
			if n++; n > maxValues {
				return fmt.Errorf("%w: more than %d values", judge.ErrTooLong, maxValues)
			}
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		}
	}
	return nil
}

// contentText reads the content of a message: a text, null, or, as some servers send it, a list of parts whose texts are
// joined.
func contentText(m openai.ChatCompletionMessage) (string, error) {
	raw := []byte(strings.TrimSpace(m.JSON.Content.Raw()))
	switch {
	case len(raw) == 0 || bytes.Equal(raw, []byte("null")):
		return "", nil
	case raw[0] == '"':
		return m.Content, nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", errors.New("choices[0].message.content is neither a text nor a list of parts")
	}
	var b strings.Builder
	for _, p := range parts {
		if p.Type == "text" {
			b.WriteString(p.Text)
		}
	}
	return b.String(), nil
}
