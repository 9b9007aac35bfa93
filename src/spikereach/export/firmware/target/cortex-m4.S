/* Start-up, counter and system calls of a Cortex-M4 on QEMU's board mps2-an386. */
    .syntax unified
    .thumb

    .section .start, "a"
    .word __stack
    .word start

    .text
    .equ TIMER, 0x40000000      /* CMSDK APB timer: CTRL, VALUE, RELOAD; it counts down */

    .global start
    .thumb_func
start:
    ldr r0, =TIMER
    mov r1, #-1
    str r1, [r0, #8]
    str r1, [r0, #4]
    movs r1, #1
    str r1, [r0]
    b harness

/* uint32_t counted(a, b, c, function): the counter's advance over function(a, b, c). Between the
   two readings lie the call, the function with its return, and one reading. */
    .global counted
    .thumb_func
counted:
    push {r4, r5, r6, lr}
    ldr r4, =TIMER
    ldr r5, [r4, #4]
    blx r3
    ldr r0, [r4, #4]
    subs r0, r5, r0
    pop {r4, r5, r6, pc}

/* void known(n): 2 n + 1 instructions. */
    .global known
    .thumb_func
known:
    subs r0, #1
    bne known
    bx lr

/* uint32_t semihosting(operation, argument) */
    .global semihosting
    .thumb_func
semihosting:
    bkpt 0xab
    bx lr

    .global stack_pointer
    .thumb_func
stack_pointer:
    mov r0, sp
    bx lr

    .section .input, "a"
    .global input
input:
    .incbin "spikes.bin"
