// A stand-in for libnux's rows of 256 elements, for a host. spikec's own: it does what the documentation of
// libnux/vx/vector_row.h says of these operations, and holds nothing of libnux. Not the vector unit itself.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace libnux::vx {

enum class PPUOnDLS { top, bottom };

// Signed elements saturate in sums, unsigned ones are modulo. Products exist of unsigned ones alone.
template <typename Type, bool Saturates>
struct VectorRow {
	typedef Type Element;
	static constexpr size_t size = 256;
	std::array<Type, 256> data{};

	VectorRow() = default;
	VectorRow(Type value) { data.fill(value); }
	Type& operator[](size_t index) { return data[index]; }
	Type const& operator[](size_t index) const { return data[index]; }

	template <typename Other, bool OtherSaturates>
	explicit operator VectorRow<Other, OtherSaturates>() const
	{
		VectorRow<Other, OtherSaturates> found;
		for (size_t i = 0; i < size; ++i) found[i] = static_cast<Other>(data[i]);
		return found;
	}
	VectorRow operator+(VectorRow const& other) const { return each(other, [](int a, int b) { return a + b; }); }
	VectorRow operator-(VectorRow const& other) const { return each(other, [](int a, int b) { return a - b; }); }
	VectorRow operator*(VectorRow const& other) const
	{
		static_assert(!Saturates, "products of saturating rows are fractions, which are not modelled");
		return each(other, [](unsigned a, unsigned b) { return a * b; });
	}
	VectorRow operator>>(int bits) const
	{
		VectorRow found;
		for (size_t i = 0; i < size; ++i) found[i] = static_cast<Type>(data[i] >> bits);
		return found;
	}
	VectorRow operator<<(int bits) const
	{
		VectorRow found;
		for (size_t i = 0; i < size; ++i) found[i] = static_cast<Type>(static_cast<unsigned>(data[i]) << bits);
		return found;
	}
	VectorRow& operator+=(VectorRow const& other) { return *this = *this + other; }

private:
	template <typename Operation>
	VectorRow each(VectorRow const& other, Operation operation) const
	{
		constexpr int highest = (1 << (8 * sizeof(Type) - 1)) - 1;
		VectorRow found;
		for (size_t i = 0; i < size; ++i) {
			auto value = operation(data[i], other[i]);
			if constexpr (Saturates) value = value > highest ? highest : value < -highest - 1 ? -highest - 1 : value;
			found[i] = static_cast<Type>(value);
		}
		return found;
	}
};

typedef VectorRow<uint8_t, false> VectorRowMod8;
typedef VectorRow<uint16_t, false> VectorRowMod16;
typedef VectorRow<int16_t, true> VectorRowFracSat16;

} // namespace libnux::vx
