//go:build !amd64 || noasm

package kernel

// maxTier is the highest tier of this build.
const maxTier = Generic
