# From the reset of a processor to `check` in 64 bits, with the vector registers of XCR switched on.
# The image is a ROM of 256 KB below 4 GB; the stack ends at 512 KB, page tables are at 1 MB.
.section .reset, "ax"
.code16
  .byte 0xE9                    # jmp boot16, which begins the last 64 KB
  .word 0x10000 - 0xfff0 - 3
  .fill 13, 1, 0

.section .boot, "ax"
boot16:
  cli
  mov %cs, %ax
  mov %ax, %ds
  lgdtl %ds:limits - boot16
  mov %cr0, %eax
  or $1, %al
  mov %eax, %cr0
  ljmpl $8, $boot32
.code32
boot32:
  mov $16, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $0x100000, %edi           # every address is itself: four pages of 1 GB
  xor %eax, %eax
  mov $0x1000, %ecx
  rep stosl
  movl $0x101003, 0x100000
  movl $0x00000083, 0x101000
  movl $0x40000083, 0x101008
  movl $0x80000083, 0x101010
  movl $0xC0000083, 0x101018
  mov $0x100000, %eax
  mov %eax, %cr3
  mov %cr4, %eax
  or $0x40620, %eax             # PAE, SSE and XSAVE
  mov %eax, %cr4
  mov $0xC0000080, %ecx
  rdmsr
  or $0x100, %eax               # 64 bits
  wrmsr
  mov %cr0, %eax
  and $~4, %eax
  or $0x80000002, %eax
  mov %eax, %cr0
  ljmp $24, $boot64
.code64
boot64:
  xor %ecx, %ecx
  xor %edx, %edx
  mov $XCR, %eax
  xsetbv
  mov $0x80000, %esp
  call check
1:
  hlt
  jmp 1b
.balign 8
table:
  .quad 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF, 0x00AF9A000000FFFF
limits:
  .word 31
  .long table
.section .note.GNU-stack, "", @progbits
