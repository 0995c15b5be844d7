//go:build arm64 && !noasm

package kernel

// tiers has the tiers of this architecture, slowest first. Every processor that Go
// runs on has NEON.
var tiers = []Tier{Generic, NEON}
