// Package optim changes the parameters of a model: [AdamW] with clipping by
// the global norm, a [Schedule] for the learning rate, and a moving average of
// the weights, [EMA].
//
// One step of training is
//
//	lr := schedule.At(step)
//	norm, err := adamw.Step(lr) // reads params.Grad, changes params.Data
//
// On a GPU, where values and gradients are resident, [AdamW.On] moves the state there, and
// [AdamW.Enqueue] puts a step into the queue without waiting.
//
// All state can be saved as named tensors and restored bit for bit.
package optim
