// Attention in float32.
#include "attention.h"

KERNEL(attention_f32_32, ATTEND(float)) { attend<Plain, 32>(ATTEND_ON); }
KERNEL(attention_grad_q_f32_32, GRAD_Q(float)) { attend_grad_q<Plain, 32, 64>(GRAD_Q_ON); }
KERNEL(attention_grad_kv_f32_32, GRAD_KV(float)) { attend_grad_kv<Plain, 32, 64>(GRAD_KV_ON); }
KERNEL(attention_f32_64, ATTEND(float)) { attend<Plain, 64>(ATTEND_ON); }
KERNEL(attention_grad_q_f32_64, GRAD_Q(float)) { attend_grad_q<Plain, 64, 64>(GRAD_Q_ON); }
KERNEL(attention_grad_kv_f32_64, GRAD_KV(float)) { attend_grad_kv<Plain, 64, 64>(GRAD_KV_ON); }
KERNEL(attention_f32_128, ATTEND(float)) { attend<Plain, 128>(ATTEND_ON); }
KERNEL(attention_grad_q_f32_128, GRAD_Q(float)) { attend_grad_q<Plain, 128, 32>(GRAD_Q_ON); }
KERNEL(attention_grad_kv_f32_128, GRAD_KV(float)) { attend_grad_kv<Plain, 128, 32>(GRAD_KV_ON); }
