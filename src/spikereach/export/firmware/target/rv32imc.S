/* Start-up, counter and system calls of an RV32IMC core on QEMU's board virt. */
    .section .start, "ax"
    .global start
start:
    la sp, __stack
    j harness

    .text
    .option arch, +zicsr        /* of minstret; the decoder is compiled without */
/* uint32_t counted(a, b, c, function): the counter's advance over function(a, b, c). Between the
   two readings lie the call, the function with its return, and one reading. */
    .global counted
counted:
    addi sp, sp, -16
    sw ra, 0(sp)
    sw s0, 4(sp)
    csrr s0, minstret
    jalr a3
    csrr a0, minstret
    sub a0, a0, s0
    lw ra, 0(sp)
    lw s0, 4(sp)
    addi sp, sp, 16
    ret

/* void known(n): 2 n + 1 instructions. */
    .global known
known:
    addi a0, a0, -1
    bnez a0, known
    ret

/* uint32_t semihosting(operation, argument); the three instructions are one signal. */
    .global semihosting
    .balign 16
    .option push
    .option norvc
semihosting:
    slli zero, zero, 0x1f
    ebreak
    srai zero, zero, 7
    ret
    .option pop

    .global stack_pointer
stack_pointer:
    mv a0, sp
    ret

    .section .input, "a"
    .global input
input:
    .incbin "spikes.bin"
