// Package download brings the pictures that a file of rows names into a folder, and keeps a ledger of what became of
// each row.
//
// The ledger is the file ledger.jsonl of the folder: a log of JSON objects, one a line, each with a checksum. The last
// line of a row is its state. Lines are written when the picture that they speak of is on the disk, and are on the disk
// themselves before anyone counts on them; a line that was being written when the power went off is cut off at the next
// opening. [States] reads it.
package download
