/* SPDX-License-Identifier: MIT */
/*
 * The kernel interface as this package needs it, carried along because the
 * installed headers are often older than the running kernel. Numbers are ABI:
 * include/uapi/linux/userfaultfd.h, include/uapi/linux/fs.h, mman-common.h.
 */
#ifndef UFFDLAB_UAPI_H
#define UFFDLAB_UAPI_H

#include <linux/ioctl.h>
#include <stdint.h>

#define UL_UFFD_API 0xAAull

struct ul_uffdio_api { uint64_t api, features, ioctls; };
struct ul_uffdio_range { uint64_t start, len; };
struct ul_uffdio_register { struct ul_uffdio_range range; uint64_t mode, ioctls; };
struct ul_uffdio_writeprotect { struct ul_uffdio_range range; uint64_t mode; };
struct ul_uffdio_copy { uint64_t dst, src, len, mode; int64_t copy; };
struct ul_uffdio_zeropage { struct ul_uffdio_range range; uint64_t mode; int64_t zeropage; };
struct ul_uffdio_move { uint64_t dst, src, len, mode; int64_t move; };
struct ul_uffdio_poison { struct ul_uffdio_range range; uint64_t mode; int64_t updated; };

/* struct uffd_msg: 32 bytes, packed; only the page fault arm is read here. */
struct ul_uffd_msg {
	uint8_t event, pad1;
	uint16_t pad2;
	uint32_t pad3;
	uint64_t fault_flags, fault_address, fault_feat;
} __attribute__((packed));

#define UL_UFFDIO_API		_IOWR(0xAA, 0x3F, struct ul_uffdio_api)
#define UL_UFFDIO_REGISTER	_IOWR(0xAA, 0x00, struct ul_uffdio_register)
#define UL_UFFDIO_UNREGISTER	_IOR(0xAA, 0x01, struct ul_uffdio_range)
#define UL_UFFDIO_WAKE		_IOR(0xAA, 0x02, struct ul_uffdio_range)
#define UL_UFFDIO_COPY		_IOWR(0xAA, 0x03, struct ul_uffdio_copy)
#define UL_UFFDIO_ZEROPAGE	_IOWR(0xAA, 0x04, struct ul_uffdio_zeropage)
#define UL_UFFDIO_MOVE		_IOWR(0xAA, 0x05, struct ul_uffdio_move)
#define UL_UFFDIO_WRITEPROTECT	_IOWR(0xAA, 0x06, struct ul_uffdio_writeprotect)
#define UL_UFFDIO_POISON	_IOWR(0xAA, 0x08, struct ul_uffdio_poison)
#define UL_USERFAULTFD_IOC_NEW	_IO(0xAA, 0x00)

#define UL_UFFD_USER_MODE_ONLY	1

#define UL_REGISTER_MODE_MISSING	(1ull << 0)
#define UL_REGISTER_MODE_WP		(1ull << 1)
#define UL_WRITEPROTECT_MODE_WP		(1ull << 0)
#define UL_COPY_MODE_WP			(1ull << 1)

#define UL_EVENT_PAGEFAULT	0x12
#define UL_PAGEFAULT_FLAG_WRITE	(1ull << 0)
#define UL_PAGEFAULT_FLAG_WP	(1ull << 1)
#define UL_PAGEFAULT_FLAG_MINOR	(1ull << 2)

#define UL_MADV_FREE		8	/* since 4.5 */
#define UL_MADV_MERGEABLE	12
#define UL_MADV_UNMERGEABLE	13
#define UL_MADV_COLD		20	/* since 5.4 */
#define UL_MADV_PAGEOUT		21	/* since 5.4 */
#define UL_MADV_POPULATE_READ	22	/* since 5.14 */
#define UL_MADV_COLLAPSE	25	/* since 6.1 */
#define UL_MADV_GUARD_INSTALL	102	/* since 6.13 */
#define UL_MADV_GUARD_REMOVE	103

struct ul_pm_scan_arg {
	uint64_t size, flags, start, end, walk_end;
	uint64_t vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct ul_page_region { uint64_t start, end, categories; };

#define UL_PAGEMAP_SCAN	_IOWR('f', 16, struct ul_pm_scan_arg)	/* since 6.7 */

#define UL_PM_SCAN_WP_MATCHING	(1ull << 0)	/* protect what is reported, in the same pass */
#define UL_PM_SCAN_CHECK_WPASYNC	(1ull << 1)	/* EPERM where the range is not registered for it */

#define UL_PAGE_IS_WRITTEN	(1ull << 1)
#define UL_PAGE_IS_FILE		(1ull << 2)
#define UL_PAGE_IS_PRESENT	(1ull << 3)
#define UL_PAGE_IS_SWAPPED	(1ull << 4)
#define UL_PAGE_IS_PFNZERO	(1ull << 5)
#define UL_PAGE_IS_HUGE		(1ull << 6)
#define UL_PAGE_IS_GUARD	(1ull << 8)
/* Every category up to GUARD (bit 8, since 6.15); older kernels know fewer. */
#define UL_PAGE_CATEGORIES	((1ull << 9) - 1)
#define UL_PAGE_CATEGORIES_6_7	((1ull << 8) - 1)

/* /proc/PID/pagemap: Documentation/admin-guide/mm/pagemap.rst */
#define UL_PM_FRAME	((1ull << 55) - 1)	/* PFN; swap type and offset of what is swapped */
#define UL_PM_SOFT_DIRTY	(1ull << 55)
#define UL_PM_UFFD_WP	(1ull << 57)
#define UL_PM_GUARD	(1ull << 58)
#define UL_PM_FILE	(1ull << 61)
#define UL_PM_SWAP	(1ull << 62)
#define UL_PM_PRESENT	(1ull << 63)
#define UL_SWAP_TYPE(frame)	((frame) & 31)
#define UL_SWAP_OFFSET(frame)	((frame) >> 5)
/*
 * include/linux/swap.h: of the 32 types a kernel keeps the last for itself, at most 4 for device
 * memory, 3 for migration, 1 for hwpoison and 1 for markers, by its configuration.
 */
#define UL_SWAP_AREAS		23	/* types below are swap areas on any kernel */
#define UL_SWAP_TYPE_MARKER	31	/* SWP_PTE_MARKER: the last, since 5.19 ... */
/* ... whose offset says what is marked (include/linux/swapops.h) */
#define UL_MARKER_UFFD_WP	(1ull << 0)
#define UL_MARKER_POISONED	(1ull << 1)	/* UFFDIO_POISON, or a page that could not be swapped in */
#define UL_MARKER_GUARD		(1ull << 2)	/* since 6.13; bit 58 of pagemap since 6.15 */

/* /proc/kpageflags */
#define UL_KPF_HWPOISON		(1ull << 19)
#define UL_KPF_NOPAGE		(1ull << 20)	/* memory of a device, too */
#define UL_KPF_THP		(1ull << 22)
#define UL_KPF_ZERO_PAGE	(1ull << 24)

_Static_assert(sizeof(struct ul_uffd_msg) == 32, "struct uffd_msg is 32 bytes");
_Static_assert(sizeof(struct ul_pm_scan_arg) == 96, "struct pm_scan_arg is 96 bytes");

#endif
