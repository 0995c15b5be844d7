package endpoint

import (
	"github.com/openai/openai-go/v3"

	"relsim/judge"
)

// params are what the library sends for a question: one message of texts and pictures.
func params(r judge.Request) openai.ChatCompletionNewParams {
	text := openai.TextContentPart
	picture := func(p judge.Picture) openai.ChatCompletionContentPartUnionParam {
		return openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: p.DataURI(), Detail: r.Detail})
	}
	p := openai.ChatCompletionNewParams{
		Model: r.Model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
			text(r.Prompt.Ask), text(r.Prompt.First), picture(r.Pictures[0]), text(r.Prompt.Second), picture(r.Pictures[1]), text(r.Prompt.End),
		})},
	}
	if r.Temperature != nil {
		p.Temperature = openai.Float(*r.Temperature)
	}
	if r.MaxTokens > 0 {
		p.MaxCompletionTokens = openai.Int(int64(r.MaxTokens))
	}
	return p
}
