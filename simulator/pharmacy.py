"""A small made-up chemist's shop: the catalogue of the simulated storefront when none is given."""

from typing import Final

from simulator.catalog import Item

CURRENCY: Final = "INR"

_SHELVES: Final = {
    "pain-relief": "Paracetamol 500|Ibuprofen 400|Aspirin 75|Pain relief gel|Heat patch|Balm",
    "vitamins": "Vitamin C|Vitamin D3|Multivitamin|Calcium|Iron|Zinc|Omega 3|B complex",
    "diabetes-care": "Glucose strips|Glucometer|Lancets|Sugar substitute|Diabetic foot cream",
    "devices": "Thermometer|Blood pressure monitor|Pulse oximeter|Nebulizer|Weighing scale",
    "skin-care": "Sunscreen|Moisturizer|Face wash|Aloe gel|Lip balm|Acne cream",
    "hair-care": "Shampoo|Conditioner|Hair oil|Anti-dandruff lotion|Hair serum",
    "baby-care": "Nappies|Baby wipes|Baby lotion|Baby powder|Feeding bottle|Gripe water",
    "digestion": "Antacid|Probiotic|Isabgol|Oral rehydration salts|Digestive drops",
    "first-aid": "Bandages|Antiseptic liquid|Cotton wool|Surgical tape|Burn ointment",
    "fitness": "Whey protein|Energy bar|Knee support|Yoga mat|Electrolyte drink",
    "ayurveda": "Ashwagandha|Chyawanprash|Triphala|Tulsi drops|Giloy juice|Amla juice",
    "oral-care": "Toothpaste|Toothbrush|Mouthwash|Dental floss|Denture tablets",
}
_VARIANTS: Final = ("", " small pack", " family pack", " value pack")


def pharmacy() -> list[Item]:
    """Some 250 products on twelve shelves, the same ones every time."""
    items: list[Item] = []
    for category, names in _SHELVES.items():
        for name in names.split("|"):
            for number, variant in enumerate(_VARIANTS):
                price = 25 + (len(items) * 37) % 480 + 60 * number
                items.append(
                    Item(
                        id=f"P{1000 + len(items)}",
                        name=name + variant,
                        price=price + 0.5 * (len(items) % 2),
                        currency=CURRENCY,
                        in_stock=len(items) % 17 != 0,
                        category=category,
                    )
                )
    return items
