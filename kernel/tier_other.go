//go:build !(amd64 || arm64) || noasm

package kernel

// tiers has the one tier of this build.
var tiers = []Tier{Generic}
