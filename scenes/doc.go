// Package scenes is the embedded benchmark for relational visual similarity: procedurally generated pictures of
// simple objects that stand in one of 32 relations, each with an anonymous caption that names the relation
// ("{Subject} growing step by step") and a literal one that names the attributes ("five red plain circles on …").
//
// Pictures come in profiles. A profile is everything but the relation: palette, shapes, textures, background, number
// of objects. Pictures that share a profile are attribute twins: alike to the eye, different in relation. A measure
// of appearance therefore retrieves twins, and a measure of relations retrieves the same relation under another
// profile.
//
// There are four splits:
//
//   - train: seen relations, training attributes, training captions;
//   - val: the same kind, other profiles, for choosing a checkpoint;
//   - test: one gallery of all relations, eight of which are never trained; the (shape, colour) pairs that lead its
//     profiles never lead in train or val, and its captions are paraphrases that training never saw;
//   - near_miss: pictures of test once more, drawn from the same random numbers, with the relation's predicate taken
//     away and everything else kept.
//
// A picture is a pure function of the [Config] and its position; [Open] gives random access, [Generate] a whole split.
package scenes
