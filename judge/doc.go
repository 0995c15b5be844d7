// Package judge lets a vision model score what retrieval found: the score of 0 to 10 of the paper (arXiv:2512.07833).
// A query and a picture that a method retrieved for it are shown to a model behind an OpenAI-compatible endpoint, which
// says how far the same relation holds in both.
//
// [NewPlan] turns rankings into questions: a pair that several methods found is one question. [Plan.Estimate] says what
// they cost. [Run] asks those that a [Store] has no answer to, with back-off, within a rate and a budget, and puts each
// answer into the store as it comes. [Plan.Tally] averages what is there, with intervals. A run that is broken off goes
// on where it was. Who asks is an [Asker]: package judge/endpoint has one.
//
// Answers are read strictly ([ParseScore]): what is not plainly a score is a failure, and is counted. A query that lacks
// an answer for one method is left out of all, so that all are compared on the same queries.
package judge
