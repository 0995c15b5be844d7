// Package formats opens data sets in the formats that users have them in.
package formats

import (
	"context"

	"relsim/dataloader"
)

// Options say what the name of a data set does not.
type Options struct {
	Images string // folder of the pictures; "": the folder images beside the rows
}

// Open opens the data set that spec names.
func Open(ctx context.Context, spec string, o Options) (dataloader.Dataset, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return dataloader.OpenJSONL(spec, o.Images)
}
